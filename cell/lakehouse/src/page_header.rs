//! The header that stands before each Parquet page, in Thrift's compact form; read as far as its lengths.

/// Structures inside structures; the format has three.
const DEEPEST: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageHeader {
    /// Bytes of the page in the file, after the header.
    pub compressed: usize,
    pub unpacked: usize,
    /// Bytes of levels before the packed values; they are never packed themselves (pages of the second version).
    pub levels: usize,
    pub is_packed: bool,
}

impl PageHeader {
    /// The header and its length; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { bytes, at: 0 };
        let mut header = Self { compressed: 0, unpacked: 0, levels: 0, is_packed: true };
        let mut seen = (false, false);
        let mut field = 0;
        while let Some(kind) = reader.field(&mut field)? {
            match (field, kind) {
                (2, SHORTS | INTEGERS | LONGS) => (header.unpacked, seen.0) = (reader.length()?, true),
                (3, SHORTS | INTEGERS | LONGS) => (header.compressed, seen.1) = (reader.length()?, true),
                (DATA_PAGE_V2, STRUCTURE) => header.read_v2(&mut reader)?,
                // Another reader may take what is passed over here for the length.
                (2 | 3 | DATA_PAGE_V2, _) => return None,
                _ => reader.skip(kind, DEEPEST)?,
            }
        }
        (seen == (true, true)).then_some((header, reader.at))
    }

    fn read_v2(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let mut field = 0;
        let (mut definitions, mut repetitions) = (0, 0);
        while let Some(kind) = reader.field(&mut field)? {
            match (field, kind) {
                (5, SHORTS | INTEGERS | LONGS) => definitions = reader.length()?,
                (6, SHORTS | INTEGERS | LONGS) => repetitions = reader.length()?,
                (7, TRUE) => self.is_packed = true,
                (7, FALSE) => self.is_packed = false,
                (5..=7, _) => return None,
                _ => reader.skip(kind, DEEPEST)?,
            }
        }
        self.levels = definitions.checked_add(repetitions)?;
        Some(())
    }
}

const DATA_PAGE_V2: i32 = 8;

// Types of the compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const SHORTS: u8 = 4;
const INTEGERS: u8 = 5;
const LONGS: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCTURE: u8 = 12;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn pass(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A length: an `i32` that is not negative.
    fn length(&mut self) -> Option<usize> {
        i32::try_from(self.zigzag()?).ok().and_then(|length| usize::try_from(length).ok())
    }

    /// The next field's type, its number put into `field`; `Some(None)` at the end of the structure.
    fn field(&mut self, field: &mut i32) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *field = match head >> 4 {
            0 => i32::try_from(self.zigzag()?).ok()?,
            step => field.checked_add(i32::from(step))?,
        };
        Some(Some(head & 0x0f))
    }

    fn skip(&mut self, kind: u8, deepest: usize) -> Option<()> {
        let deeper = deepest.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.pass(1),
            SHORTS | INTEGERS | LONGS => self.varint().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.pass(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    count => u64::from(count),
                };
                (0..count).try_for_each(|_| self.element(head & 0x0f, deeper))
            }
            MAP => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, deeper)?;
                    self.element(kinds & 0x0f, deeper)
                })
            }
            STRUCTURE => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, deeper)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// In a collection a truth value takes a byte, so no element is without one and `count` is bounded by the bytes.
    fn element(&mut self, kind: u8, deepest: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => self.pass(1),
            kind => self.skip(kind, deepest),
        }
    }
}
