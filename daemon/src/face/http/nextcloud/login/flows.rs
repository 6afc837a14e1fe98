//! Logins under way (Nextcloud's login flow, version 2: the manual's "Login Flow", and `ClientFlowLoginV2Controller.php`).
//!
//! A program begins one and is given two random values: one to ask with whether it was granted, one that leads a browser to the page where a
//! person grants it. In memory, bounded in number and time, gone with a restart: whoever was under way begins anew.
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::account::{Slug, Token};
use crate::model::agent::Agent;

/// Logins remembered at once.
const MOST: usize = 256;
/// Of these, waiting ones begun from one address.
const MOST_FROM_ONE: usize = 16;
/// How long a login may take, and how long what was granted waits to be fetched.
const LASTS: Duration = Duration::from_secs(20 * 60);

/// What leads to a login: random, and different.
pub(super) struct Keys {
    /// What the program asks with.
    pub(super) token: String,
    /// What is in the page's address.
    pub(super) id: String,
    /// What the page's forms are signed with.
    pub(super) form: [u8; 32],
}

/// What a program is given, once.
pub(super) struct Grant {
    /// The user name.
    pub(super) person: Slug,
    /// The new device's password.
    pub(super) password: Token,
}

enum State {
    Waiting,
    /// Somebody's form is being carried out.
    BeingGranted,
    Granted(Grant),
    Fetched,
}

/// Who begins a login.
pub(super) struct Asker {
    /// The address by which it came, without a path.
    pub(super) server: String,
    /// From where.
    pub(super) from: IpAddr,
    /// With which program.
    pub(super) agent: Option<Agent>,
}

/// A login under way.
struct Flow {
    keys: Keys,
    begun: Instant,
    /// The address by which the program came, without a path: it is told to go on using it.
    server: String,
    /// From where it was begun, and with which program.
    from: IpAddr,
    agent: Option<Agent>,
    /// Who signed in on the page and is being asked something, and in which browser.
    vouched: Option<(Slug, String)>,
    state: State,
}

/// How a login stands, for its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// From where it was begun.
    pub(super) from: IpAddr,
    /// The program that began it.
    pub(super) agent: Option<Agent>,
    /// Whether it was granted.
    pub(super) done: bool,
}

/// All logins under way, the oldest first.
#[derive(Default)]
pub(super) struct Flows(Vec<Flow>);

impl Flows {
    /// Begins one. Where there are too many, the oldest that still waits makes room: first of those from the same address.
    pub(super) fn begin(&mut self, keys: Keys, asker: Asker, now: Instant) {
        let Asker { server, from, agent } = asker;
        self.forget_old(now);
        let waits = |flow: &Flow| matches!(flow.state, State::Waiting);
        if self.0.iter().filter(|flow| waits(flow) && flow.from == from).count() >= MOST_FROM_ONE {
            self.drop_first(|flow| waits(flow) && flow.from == from);
        }
        if self.0.len() >= MOST && !self.drop_first(waits) {
            self.drop_first(|_| true);
        }
        self.0.push(Flow { keys, begun: now, server, from, agent, vouched: None, state: State::Waiting });
    }

    fn drop_first(&mut self, which: impl Fn(&Flow) -> bool) -> bool {
        let at = self.0.iter().position(which);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|flow| now.saturating_duration_since(flow.begun) < LASTS);
    }

    /// The server's address and what was granted, exactly once; `None` while it waits, and ever after.
    pub(super) fn fetch(&mut self, token: &str, now: Instant) -> Option<(String, Grant)> {
        self.forget_old(now);
        let flow = self.0.iter_mut().find(|flow| flow.keys.token == token)?;
        if !matches!(flow.state, State::Granted(_)) {
            return None;
        }
        match std::mem::replace(&mut flow.state, State::Fetched) {
            State::Granted(grant) => Some((flow.server.clone(), grant)),
            State::Waiting | State::BeingGranted | State::Fetched => None,
        }
    }

    fn find(&mut self, id: &str, now: Instant) -> Option<&mut Flow> {
        self.forget_old(now);
        self.0.iter_mut().find(|flow| flow.keys.id == id)
    }

    /// How a login stands; `None`: there is none of this id any more.
    pub(super) fn look(&mut self, id: &str, now: Instant) -> Option<Shown> {
        self.find(id, now).map(|flow| Shown {
            from: flow.from,
            agent: flow.agent.clone(),
            done: matches!(flow.state, State::Granted(_) | State::Fetched),
        })
    }

    /// The mark of a form that this login's page has in one browser, known by its cookie: another site can make neither.
    pub(super) fn mark(&mut self, id: &str, browser: &str, now: Instant) -> Option<String> {
        let flow = self.find(id, now)?;
        Some(blake3::keyed_hash(&flow.keys.form, browser.as_bytes()).to_hex().to_string())
    }

    /// Begins to carry out a form: `false` when another one is, or the login was granted, or is no more.
    pub(super) fn claim(&mut self, id: &str, now: Instant) -> bool {
        let Some(flow) = self.find(id, now).filter(|flow| matches!(flow.state, State::Waiting)) else {
            return false;
        };
        flow.state = State::BeingGranted;
        true
    }

    /// Puts a claimed login back to waiting. `vouched`: who has signed in and is being asked something.
    pub(super) fn release(&mut self, id: &str, vouched: Option<(Slug, String)>, now: Instant) {
        if let Some(flow) = self.find(id, now).filter(|flow| matches!(flow.state, State::BeingGranted)) {
            flow.state = State::Waiting;
            flow.vouched = vouched;
        }
    }

    /// Whether this person has signed in on this login's page in this browser.
    pub(super) fn is_vouched(&mut self, id: &str, person: &Slug, browser: &str, now: Instant) -> bool {
        let vouched = self.find(id, now).and_then(|flow| flow.vouched.as_ref());
        vouched.is_some_and(|(who, where_)| who == person && where_ == browser)
    }

    /// Grants a claimed login. `false`: it is no more, and nobody will fetch this.
    pub(super) fn grant(&mut self, id: &str, grant: Grant, now: Instant) -> bool {
        let Some(flow) = self.find(id, now).filter(|flow| matches!(flow.state, State::BeingGranted)) else {
            return false;
        };
        flow.state = State::Granted(grant);
        flow.vouched = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: usize) -> Keys {
        Keys { token: format!("token{n}"), id: format!("id{n}"), form: [u8::try_from(n % 256).unwrap(); 32] }
    }

    fn granted() -> Grant {
        Grant { person: "anna".parse().unwrap(), password: Token::from_random([1; 20]) }
    }

    fn at(n: u8) -> Asker {
        Asker { server: "http://box".to_owned(), from: home(n), agent: None }
    }

    fn home(n: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, n])
    }

    #[test]
    fn granted_is_fetched_once_and_by_the_token_only() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        flows.begin(keys(1), at(1), now);
        assert!(flows.fetch("token1", now).is_none());
        assert!(!flows.grant("id1", granted(), now), "not claimed");
        assert!(flows.claim("id1", now) && !flows.claim("id1", now));
        assert!(flows.fetch("token1", now).is_none());
        assert!(flows.grant("id1", granted(), now));
        assert!(flows.fetch("id1", now).is_none() && flows.fetch("", now).is_none());
        assert!(flows.look("id1", now).unwrap().done);
        let (server, grant) = flows.fetch("token1", now).unwrap();
        assert_eq!((&*server, grant.person.as_str()), ("http://box", "anna"));
        assert!(flows.fetch("token1", now).is_none());
        assert!(flows.look("id1", now).unwrap().done && !flows.claim("id1", now));
    }

    #[test]
    fn a_login_ends_after_twenty_minutes() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        flows.begin(keys(1), at(1), now);
        assert!(flows.look("id1", now + LASTS - Duration::from_secs(1)).is_some());
        assert!(flows.claim("id1", now) && flows.grant("id1", granted(), now));
        assert!(flows.fetch("token1", now + LASTS).is_none());
        assert!(flows.look("id1", now).is_none() && flows.0.is_empty());
    }

    #[test]
    fn a_flood_drops_the_oldest_that_wait_and_nothing_that_was_granted() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        flows.begin(keys(0), at(0), now);
        assert!(flows.claim("id0", now) && flows.grant("id0", granted(), now));
        for n in 1..=1000 {
            flows.begin(keys(n), at(1), now);
        }
        assert_eq!(flows.0.len(), 1 + MOST_FROM_ONE);
        assert!(flows.look("id984", now).is_none() && flows.look("id985", now).is_some());
        for n in 1001..=3000 {
            flows.begin(keys(n), at(u8::try_from(n % 200).unwrap()), now);
        }
        assert_eq!(flows.0.len(), MOST);
        assert!(flows.fetch("token0", now).is_some());
    }

    #[test]
    fn who_signed_in_is_known_in_that_browser_until_the_next_form() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        let (anna, ben): (Slug, Slug) = ("anna".parse().unwrap(), "ben".parse().unwrap());
        flows.begin(keys(1), at(1), now);
        assert!(flows.claim("id1", now));
        flows.release("id1", Some((anna.clone(), "browser".to_owned())), now);
        assert!(flows.is_vouched("id1", &anna, "browser", now));
        assert!(
            !flows.is_vouched("id1", &ben, "browser", now) && !flows.is_vouched("id1", &anna, "other", now)
        );
        assert!(flows.claim("id1", now));
        flows.release("id1", None, now);
        assert!(!flows.is_vouched("id1", &anna, "browser", now));
    }

    #[test]
    fn forms_are_marked_for_one_login_and_one_browser() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        flows.begin(keys(1), at(1), now);
        flows.begin(keys(2), at(1), now);
        let marks = [("id1", "a"), ("id1", "b"), ("id2", "a")]
            .map(|(id, browser)| flows.mark(id, browser, now).unwrap());
        assert!(marks[0] != marks[1] && marks[0] != marks[2] && marks[1] != marks[2]);
        assert_eq!(flows.mark("id3", "a", now), None);
    }
}
