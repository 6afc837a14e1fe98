//! Previews: how long their longer side is, and what came of drawing one. Few lengths, so that a photo has few previews however many
//! apps ask for how many sizes.

/// The longer side of a preview, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge(u32);

impl Edge {
    /// All there are, the shortest first: grids of small pictures, grids on sharp screens, a phone's screen, a computer's.
    pub const ALL: [Self; 4] = [Self(256), Self(512), Self(1024), Self(1600)];

    /// The shortest that is not shorter than what was asked for, or the longest.
    pub fn for_asked(pixels: u32) -> Self {
        Self::ALL.into_iter().find(|edge| edge.0 >= pixels).unwrap_or(Self::ALL[Self::ALL.len() - 1])
    }

    /// In pixels.
    pub const fn pixels(self) -> u32 {
        self.0
    }
}

/// What came of drawing one, as the process that draws tells the one that sent it: a letter, and the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drawn {
    /// A JPEG.
    Picture(Vec<u8>),
    /// There is no picture in the file, or none that can be drawn here.
    Nothing,
    /// The file could not be read, which says nothing about it.
    Unread,
}

impl Drawn {
    /// As told.
    pub fn told(&self) -> Vec<u8> {
        match self {
            Self::Picture(jpeg) => [b"P", jpeg.as_slice()].concat(),
            Self::Nothing => b"N".to_vec(),
            Self::Unread => b"U".to_vec(),
        }
    }

    /// As heard. What is said in any other way was not said by a process in its right mind: nothing.
    pub fn heard(mut told: Vec<u8>) -> Self {
        match told.first() {
            Some(b'P') if told[1..].starts_with(b"\xff\xd8\xff") => Self::Picture(told.split_off(1)),
            Some(b'U') if told.len() == 1 => Self::Unread,
            Some(_) | None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_never_too_small_as_long_as_there_is_such_a_size() {
        for (asked, edge) in [
            (0, 256),
            (1, 256),
            (256, 256),
            (257, 512),
            (1024, 1024),
            (1440, 1600),
            (4096, 1600),
            (u32::MAX, 1600),
        ] {
            assert_eq!(Edge::for_asked(asked).pixels(), edge, "{asked}");
        }
    }

    #[test]
    fn what_is_told_is_heard_and_nothing_else() {
        for drawn in [Drawn::Picture(b"\xff\xd8\xff\xd9".to_vec()), Drawn::Nothing, Drawn::Unread] {
            assert_eq!(Drawn::heard(drawn.told()), drawn);
        }
        for odd in [&b""[..], b"P", b"Phello", b"UU", b"x", b"\xff\xd8\xff"] {
            assert_eq!(Drawn::heard(odd.to_vec()), Drawn::Nothing);
        }
    }
}
