//! The text of `krb5.conf` and `kdc.conf`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::builder::Settings;
use crate::enctype::{self, Enctype};

/// How one client's or server's `krb5.conf` differs from the realm's own.
///
/// ```
/// use krb_testenv::{Conf, Enctype};
///
/// let conf = Conf::new().permitted_enctypes(&[Enctype::Aes256Sha2]).domain("localhost", "OTHER.TEST");
/// # drop(conf);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conf {
    permitted: Option<Vec<Enctype>>,
    defaults: Vec<(String, String)>,
    realm: Vec<(String, String)>,
    domains: Vec<(String, String)>,
}

impl Conf {
    /// No difference yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The enctypes that may be used, best first; the acceptor's subkey gets the first that both sides permit.
    #[must_use]
    pub fn permitted_enctypes(mut self, enctypes: &[Enctype]) -> Self {
        self.permitted = Some(enctypes.to_vec());
        self
    }

    /// How far clocks may be apart (MIT's default: 5 minutes).
    #[must_use]
    pub fn clock_skew(self, skew: Duration) -> Self {
        self.libdefault("clockskew", skew.as_secs().to_string())
    }

    /// Says that a host (`localhost`) or a domain (`.b.test`) belongs to a realm.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>, realm: impl Into<String>) -> Self {
        self.domains.push((domain.into(), realm.into()));
        self
    }

    /// Logs in by an encrypted timestamp although the realm offers SPAKE: tickets get no authentication indicator.
    #[must_use]
    pub fn without_indicator(self) -> Self {
        // RFC 6113 section 6: 2 is PA-ENC-TIMESTAMP.
        self.libdefault("preferred_preauth_types", "2")
    }

    /// Binds tickets got with [`Kinit::addresses`](crate::Kinit::addresses) to loopback and to so many made-up
    /// addresses, which makes each ticket about 15 octets larger per address.
    #[must_use]
    pub fn extra_addresses(mut self, count: u16) -> Self {
        self = self.libdefault("extra_addresses", "127.0.0.1");
        (0..count).fold(self, |conf, number| {
            let [high, low] = number.to_be_bytes();
            conf.libdefault("extra_addresses", format!("10.0.{high}.{low}"))
        })
    }

    /// Any other line of `[libdefaults]`.
    #[must_use]
    pub fn libdefault(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.defaults.push((key.into(), value.into()));
        self
    }

    /// Any other line of the realm's own part of `[realms]`.
    #[must_use]
    pub fn realm_line(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.realm.push((key.into(), value.into()));
        self
    }
}

/// Another realm that this one's clients can reach.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) domains: Vec<String>,
}

/// What all of a realm's `krb5.conf` files say.
#[derive(Clone, Debug)]
pub(crate) struct Common<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    pub(crate) peers: &'a [Peer],
    /// Client's realm, service's realm, the realm between.
    pub(crate) paths: &'a [(String, String, String)],
}

impl Common<'_> {
    /// The text of a `krb5.conf`.
    pub(crate) fn krb5_conf(&self, own: &Conf) -> String {
        let mut text = self.libdefaults(own);
        text.push_str(&self.realms(own));
        text.push_str(&self.domains(own));
        text.push_str(&self.capaths());
        text
    }

    fn libdefaults(&self, own: &Conf) -> String {
        let (settings, folder) = (self.settings, self.folder.display());
        let permitted = own.permitted.as_ref().unwrap_or(&settings.enctypes);
        let mut text = String::from("[libdefaults]\n");
        let mut line = |key: &str, value: &str| line(&mut text, " ", key, value);
        // An own value has to come first: MIT takes the first.
        for (key, value) in &own.defaults {
            line(key, value);
        }
        line("default_realm", &settings.name);
        for key in
            ["dns_lookup_kdc", "dns_lookup_realm", "dns_uri_lookup", "dns_canonicalize_hostname", "rdns"]
        {
            line(key, "false");
        }
        line("qualify_shortname", "\"\"");
        line("udp_preference_limit", "1");
        line("permitted_enctypes", &enctype::list(permitted));
        for key in ["allow_weak_crypto", "allow_rc4", "allow_des3"] {
            let asked = permitted.iter().any(|enctype| matches!(enctype, Enctype::Rc4 | Enctype::Des3));
            line(key, if asked { "true" } else { "false" });
        }
        line("ticket_lifetime", &seconds(settings.ticket_life));
        line("default_ccache_name", &format!("FILE:{folder}/caches/default"));
        line("default_keytab_name", &format!("FILE:{folder}/keytabs/default"));
        line("default_rcache_name", &format!("file2:{folder}/rcache2"));
        if settings.indicator.is_some() {
            line("spake_preauth_groups", "edwards25519");
        }
        text
    }

    fn realms(&self, own: &Conf) -> String {
        let settings = self.settings;
        let mut text = format!("[realms]\n {} = {{\n", settings.name);
        line(&mut text, "  ", "kdc", &format!("127.0.0.1:{}", self.port));
        for (key, value) in &own.realm {
            line(&mut text, "  ", key, value);
        }
        for rule in &settings.local_rules {
            line(&mut text, "  ", "auth_to_local", rule);
        }
        if !settings.local_names.is_empty() {
            text.push_str("  auth_to_local_names = {\n");
            for (principal, local) in &settings.local_names {
                line(&mut text, "   ", principal, local);
            }
            text.push_str("  }\n");
        }
        text.push_str(" }\n");
        for peer in self.peers {
            let _ = writeln!(text, " {} = {{\n  kdc = 127.0.0.1:{}\n }}", peer.name, peer.port);
        }
        text
    }

    fn domains(&self, own: &Conf) -> String {
        let mut text = String::from("[domain_realm]\n");
        let theirs = self
            .peers
            .iter()
            .flat_map(|peer| peer.domains.iter().map(move |domain| (domain.as_str(), peer.name.as_str())));
        let ours = self.settings.domains.iter().map(|domain| (domain.as_str(), self.settings.name.as_str()));
        let asked = own.domains.iter().map(|(domain, realm)| (domain.as_str(), realm.as_str()));
        for (domain, realm) in asked.chain(ours).chain(theirs) {
            line(&mut text, " ", domain, realm);
        }
        text
    }

    fn capaths(&self) -> String {
        let mut text = String::from("[capaths]\n");
        for (client, service, between) in self.paths {
            let _ = writeln!(text, " {client} = {{\n  {service} = {between}\n }}");
        }
        text
    }
}

/// The text of a `kdc.conf`.
pub(crate) fn kdc_conf(settings: &Settings, folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let mut text = format!("[realms]\n {} = {{\n", settings.name);
    let mut line = |key: &str, value: &str| line(&mut text, "  ", key, value);
    line("kdc_listen", &format!("127.0.0.1:{port}"));
    line("kdc_tcp_listen", &format!("127.0.0.1:{port}"));
    line("database_name", &format!("{folder}/db"));
    line("key_stash_file", &format!("{folder}/stash"));
    line("acl_file", &format!("{folder}/acl"));
    // Made from a password with each start: this enctype takes the least time.
    line("master_key_type", Enctype::Aes256Sha1.name());
    line("supported_enctypes", &enctype::key_list(&settings.enctypes));
    line("max_life", &seconds(settings.ticket_life));
    line("max_renewable_life", &seconds(settings.renew_life));
    let flags = if settings.preauth { "+forwardable,+renewable,+preauth" } else { "+forwardable,+renewable" };
    line("default_principal_flags", flags);
    line("disable_pac", if settings.pac { "false" } else { "true" });
    if let Some(indicator) = &settings.indicator {
        line("spake_preauth_indicator", indicator);
    }
    let _ = write!(text, " }}\n[logging]\n kdc = FILE:{folder}/kdc.log\n default = FILE:{folder}/kdc.log\n");
    text
}

fn line(text: &mut String, indent: &str, key: &str, value: &str) {
    let _ = writeln!(text, "{indent}{key} = {value}");
}

/// MIT's notation of a span.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{}s", span.as_secs())
}
