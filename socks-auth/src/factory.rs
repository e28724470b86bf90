//! How a configured method comes to be: factories, what they are told, and the registry.
