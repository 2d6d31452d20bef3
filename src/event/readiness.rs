//! The one set of bits that every backend reports in.

/// What a source is ready for, as bits.
///
/// The values are epoll's own, so an epoll event needs no conversion. The other backends convert
/// their kernels' flags once, when they take the events over. What epoll does not have uses bits
/// that epoll leaves free.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Readiness(pub(crate) u32);

impl Readiness {
    pub(crate) const NONE: Readiness = Readiness(0);
    pub(crate) const IN: Readiness = Readiness(0x0001);
    pub(crate) const PRI: Readiness = Readiness(0x0002);
    pub(crate) const OUT: Readiness = Readiness(0x0004);
    pub(crate) const ERR: Readiness = Readiness(0x0008);
    pub(crate) const HUP: Readiness = Readiness(0x0010);
    pub(crate) const RDHUP: Readiness = Readiness(0x2000);
    pub(crate) const AIO: Readiness = Readiness(0x1_0000);
    pub(crate) const LIO: Readiness = Readiness(0x2_0000);
    /// Nothing can be written any more; says nothing about reading. kqueue reports the end of
    /// writing alone, and epoll only that both directions have ended.
    pub(crate) const WRHUP: Readiness = Readiness(0x4_0000);

    pub(crate) const fn or(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    pub(crate) const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: [u32; 3] = [1, 2, 4];

    fn has(set: Readiness, bit: u32) -> bool {
        set.0 / bit % 2 == 1
    }

    #[test]
    fn readiness_is_a_set_of_bits() {
        let pairs = (0..8).flat_map(|one| (0..8).map(move |other| (one, other)));
        for (one, other) in pairs.map(|(one, other)| (Readiness(one), Readiness(other))) {
            for bit in BITS {
                let (in_one, in_other) = (has(one, bit), has(other, bit));
                assert_eq!(has(one.or(other), bit), in_one || in_other);
                assert_eq!(has(one.and(other), bit), in_one && in_other);
                assert_eq!(has(one.without(other), bit), in_one && !in_other);
            }
            let both = BITS.map(|bit| has(one, bit) && has(other, bit));
            assert_eq!(one.intersects(other), both.contains(&true));
            let missing = BITS.map(|bit| !has(one, bit) && has(other, bit));
            assert_eq!(one.contains(other), !missing.contains(&true));
        }
    }
}
