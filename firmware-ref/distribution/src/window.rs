//! How long a master waits for more requests before it broadcasts (steps 320 to 324; CD18 to CD25, K17).

/// What a request during the wait does to it. A repeated request of a node that is waiting already
/// never does anything: it is no new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Nothing: timed from the first request (CD21).
    FromFirst,
    /// The same period begins anew: timed from the latest request (CD22).
    FromLatest,
    /// A period begins that is shorter by a fixed amount each time (CD23).
    Shrinking {
        /// By how much.
        by_ns: u64,
    },
    /// A period begins that is half as long each time (CD23, the variable amount).
    Halving,
}

/// How a master waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The predetermined period (CD19): nodes powered at about the same time ask within it.
    pub period_ns: u64,
    /// What later requests do.
    pub timing: Timing,
    /// Whatever comes, the wait ends so long after the first request (K17).
    pub cap_ns: u64,
}

impl Wait {
    /// A fixed wait from the first request.
    pub fn fixed(period_ns: u64) -> Wait {
        Wait {
            period_ns,
            timing: Timing::FromFirst,
            cap_ns: period_ns,
        }
    }
}

/// A wait on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The node that asked first.
    pub node: u8,
    opened_ns: u64,
    expires_ns: u64,
    period_ns: u64,
}

impl Window {
    /// A first request: the wait begins (steps 320, 321).
    pub fn open(now_ns: u64, node: u8, wait: &Wait) -> Window {
        Window {
            node,
            opened_ns: now_ns,
            expires_ns: now_ns.saturating_add(wait.period_ns.min(wait.cap_ns)),
            period_ns: wait.period_ns,
        }
    }

    /// One more request (steps 322, 324).
    pub fn request(&mut self, now_ns: u64, wait: &Wait) {
        self.period_ns = match wait.timing {
            Timing::FromFirst => return,
            Timing::FromLatest => self.period_ns,
            Timing::Shrinking { by_ns } => self.period_ns.saturating_sub(by_ns),
            Timing::Halving => self.period_ns / 2,
        };
        let cap_ns = self.opened_ns.saturating_add(wait.cap_ns);
        let renewed_ns = now_ns.saturating_add(self.period_ns).min(cap_ns);
        // Renewing extends; a period that has shrunk does not take back what was promised.
        self.expires_ns = self.expires_ns.max(renewed_ns);
    }

    /// When it is over (step 323).
    pub fn expires_ns(&self) -> u64 {
        self.expires_ns
    }

    /// How long it has been.
    pub fn waited_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.opened_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cd20_to_cd25_when_a_wait_is_over() {
        let wait = |timing, cap_ns| Wait {
            period_ns: 100,
            timing,
            cap_ns,
        };
        let shrinking = Timing::Shrinking { by_ns: 40 };
        for (wait, requests, expires_ns) in [
            (Wait::fixed(100), &[50, 90][..], 100),
            (wait(Timing::FromFirst, 60), &[], 60),
            (wait(Timing::FromFirst, 1000), &[50, 90], 100),
            (wait(Timing::FromLatest, 1000), &[], 100),
            (wait(Timing::FromLatest, 1000), &[50, 90, 180], 280),
            (wait(Timing::FromLatest, 250), &[50, 90, 180], 250),
            (wait(shrinking, 1000), &[50], 110),
            (wait(shrinking, 1000), &[90, 140], 160),
            // 100, 60, 20, 0: it comes to an end by itself.
            (wait(shrinking, 1000), &[90, 140, 155, 158], 160),
            (wait(shrinking, 120), &[90, 110], 120),
            (wait(Timing::Halving, 1000), &[90, 130], 155),
        ] {
            let mut window = Window::open(0, 7, &wait);
            for now_ns in requests {
                window.request(*now_ns, &wait);
            }
            assert_eq!(window.expires_ns(), expires_ns, "{wait:?} {requests:?}");
        }
    }

    #[test]
    fn k17_steady_requests_cannot_postpone_for_ever() {
        for timing in [
            Timing::FromLatest,
            Timing::Shrinking { by_ns: 1 },
            Timing::Halving,
        ] {
            let wait = Wait {
                period_ns: 100,
                timing,
                cap_ns: 500,
            };
            let mut window = Window::open(0, 7, &wait);
            for now_ns in 1..10_000 {
                window.request(now_ns, &wait);
            }
            assert!(window.expires_ns() <= 500, "{timing:?}");
        }
    }
}
