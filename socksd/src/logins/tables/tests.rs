use std::net::{IpAddr, Ipv4Addr};

use super::*;

const WITHIN: Duration = Duration::from_secs(600);
const LASTS: Duration = Duration::from_secs(900);

fn limits() -> LoginLimits {
    LoginLimits {
        longest_delay: Some(Duration::from_secs(2)),
        within: WITHIN,
        lock: Some(LoginLock { after: 10, lasts: LASTS }),
    }
}

/// A login under the name of that number, from the source of that number.
fn claim(name: u32, source: u32) -> Claim {
    Claim {
        name: NameKey([name.into(), 0]),
        source: Source::of(IpAddr::from(Ipv4Addr::from_bits(source))),
        shown: format!("user-{name}").into(),
        method: "password".into(),
    }
}

struct Stage {
    tables: Tables,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self { tables: Tables::new(), now: Instant::now() }
    }

    fn fail(&mut self, name: u32, source: u32, times: usize) -> usize {
        let claim = claim(name, source);
        (0..times).filter(|_| self.tables.fail(&claim, &limits(), self.now).is_some()).count()
    }

    fn find(&self, name: u32, source: u32) -> Found {
        self.tables.find(&claim(name, source), &limits(), self.now)
    }

    fn is_locked(&self, name: u32, source: u32) -> bool {
        self.find(name, source).is_locked
    }

    fn delay(&self, name: u32, source: u32) -> u128 {
        self.find(name, source).delay.as_millis()
    }

    fn pass(&mut self, name: u32, source: u32) -> Option<bool> {
        self.tables.pass(&claim(name, source), self.now)
    }

    fn rows(&self) -> [usize; 4] {
        let tables = &self.tables;
        [tables.pairs.len(), tables.names.len(), tables.proven.len(), tables.of_source.len()]
    }
}

#[test]
fn failures_slow_a_name_down_wherever_it_is_claimed_up_to_a_bound() {
    let mut stage = Stage::new();
    let mut delays = Vec::new();
    for source in 0..8 {
        delays.push(stage.delay(1, 99));
        stage.fail(1, source, 1);
    }
    assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 2000, 2000]);
    assert_eq!(stage.delay(2, 0), 0, "another name");
    stage.fail(1, 0, 1_000_000);
    assert_eq!(stage.delay(1, 99), 2000);
    assert!(!stage.is_locked(1, 99), "nobody is locked out by others");
}

#[test]
fn a_source_is_locked_out_under_the_name_that_failed_and_nobody_else_is() {
    let mut stage = Stage::new();
    assert_eq!(stage.fail(1, 7, 9), 0);
    assert!(!stage.is_locked(1, 7));
    assert_eq!(stage.fail(1, 7, 5), 1, "one lock begins, and failures behind it change nothing");
    assert!(stage.is_locked(1, 7));
    assert!(!stage.is_locked(1, 8) && !stage.is_locked(2, 7));
    assert_eq!(stage.pass(1, 7), None, "a proof that was judged meanwhile is refused");
    stage.now += LASTS;
    assert!(!stage.is_locked(1, 7));
    assert_eq!(stage.fail(1, 7, 9), 0, "it counts anew");
}

#[test]
fn failures_are_forgotten_after_their_time() {
    let mut stage = Stage::new();
    stage.fail(1, 7, 9);
    stage.now += WITHIN;
    assert_eq!((stage.fail(1, 7, 1), stage.delay(1, 7)), (0, 100));
    stage.now += WITHIN;
    stage.tables.forget(stage.now);
    assert_eq!(stage.rows(), [0; 4]);
}

#[test]
fn a_login_clears_its_own_pair_alone() {
    let mut stage = Stage::new();
    stage.fail(1, 7, 9);
    stage.fail(1, 8, 9);
    assert_eq!(stage.pass(1, 7), Some(false), "it has never come in from there");
    assert_eq!(stage.pass(1, 7), Some(true));
    assert_eq!((stage.fail(1, 7, 9), stage.fail(1, 8, 1)), (0, 1));
    stage.now += PROVEN_FOR;
    assert_eq!(stage.pass(1, 7), Some(false));
}

#[test]
fn switched_off_it_neither_delays_nor_locks() {
    let mut stage = Stage::new();
    let off = LoginLimits { longest_delay: None, lock: None, ..limits() };
    assert!((0..100).all(|_| stage.tables.fail(&claim(1, 7), &off, stage.now).is_none()));
    let found = stage.tables.find(&claim(1, 7), &off, stage.now);
    assert_eq!(found, Found { is_locked: false, delay: Duration::ZERO });
}

#[test]
fn a_hundred_thousand_names_and_sources_take_bounded_room_and_lift_no_lock() {
    let mut stage = Stage::new();
    stage.fail(0, 0, 10);
    stage.fail(1, 0, 9);
    stage.pass(3, 3);
    for number in 1_000..101_000 {
        stage.fail(number, number, 1);
        let [pairs, names, proven, sources] = stage.rows();
        assert!(pairs <= MOST_PAIRS && names <= MOST_NAMES && proven <= MOST_PROVEN && sources <= pairs);
    }
    assert!(stage.is_locked(0, 0), "a lock outlives them all");
    assert_eq!(stage.fail(1, 0, 1), 1, "and so does a count that is near one");
    assert_eq!(stage.pass(3, 3), Some(true));
    for number in 1_000..101_000 {
        stage.pass(number, number);
    }
    assert!(stage.rows()[2] <= MOST_PROVEN);
    let counted: usize = stage.tables.of_source.values().sum();
    assert_eq!(counted, stage.tables.pairs.len(), "each row counts for its source");
}

#[test]
fn a_lock_goes_before_its_time_only_for_as_many_others() {
    let mut stage = Stage::new();
    stage.fail(0, 0, 10);
    stage.now += Duration::from_secs(1);
    for number in 1..u32::try_from(MOST_PAIRS).unwrap() {
        stage.fail(number, number, 10);
    }
    assert!(stage.is_locked(0, 0), "ten failures each for {MOST_PAIRS} locks have not reached it");
    stage.fail(99_999_999, 99_999_999, 10);
    assert!(!stage.is_locked(0, 0), "those that end first go first");
}

#[test]
fn a_source_that_uses_up_its_names_is_locked_under_all_others_as_one() {
    let mut stage = Stage::new();
    stage.pass(500_000, 7);
    let most = u32::try_from(MOST_NAMES_OF_SOURCE).unwrap();
    for name in 0..most {
        assert_eq!(stage.fail(name, 7, 1), 0);
    }
    let locks: usize = (most..most + 10).map(|name| stage.fail(name, 7, 1)).sum();
    assert_eq!(locks, 1, "ten failures under ten more names");
    assert!(stage.is_locked(999_999, 7));
    assert!(!stage.is_locked(0, 7), "names that have failed before count by themselves");
    assert!(!stage.is_locked(500_000, 7), "and so does who has come in from there");
    assert!(!stage.is_locked(999_999, 8), "other sources have nothing to do with it");
    assert_eq!(&*stage.tables.locks(stage.now).next().unwrap().1.shown, OTHER_NAMES);
}
