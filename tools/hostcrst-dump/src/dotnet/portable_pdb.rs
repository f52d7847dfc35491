//! A portable PDB: of each method, which of its instructions begins which statement of the source.

use super::assembly::{PdbId, file_name};
use super::metadata::{self, Cursor, Tables};

pub struct PortablePdb {
    bytes: Vec<u8>,
    id: PdbId,
    tables: Tables,
    /// Where the rows of the tables begin, and the blobs.
    rows: usize,
    blobs: usize,
}

const DOCUMENT: usize = 0x30;
const METHOD: usize = 0x31;
/// Larger descriptions of one method are not read, nor longer names.
const LARGEST_BLOB: usize = 1 << 20;
const MOST_PARTS: usize = 256;

impl PortablePdb {
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let stream = |name: &[u8]| usize::try_from(metadata::stream(&bytes, name)?.offset).ok();
        let id = *bytes.get(stream(b"#Pdb")?..)?.first_chunk()?;
        let mut rows = Cursor(bytes.get(stream(b"#~")?..)?);
        let tables = Tables::parse(&mut rows)?;
        // It has tables of its own alone, of which this is the first.
        if (0..DOCUMENT).any(|table| tables.rows(table) != 0) {
            return None;
        }
        let rows = bytes.len() - rows.0.len();
        let blobs = stream(b"#Blob")?;
        Some(PortablePdb { id, tables, rows, blobs, bytes })
    }

    pub fn id(&self) -> PdbId {
        self.id
    }

    /// The name of the file, without its folders, and the line of the statement that an instruction of a method belongs to.
    pub fn line(&self, method: u32, offset: u32) -> Option<(String, u32)> {
        let mut row = Cursor(self.row(METHOD, method & 0xFF_FFFF)?);
        let document = row.index(self.has_wide_documents())?;
        let (document, line) = find(self.blob(row.index(self.tables.has_wide_blobs())?)?, document, offset)?;
        let name = Cursor(self.row(DOCUMENT, document)?).index(self.tables.has_wide_blobs())?;
        Some((self.document_name(self.blob(name)?)?, line))
    }

    fn has_wide_documents(&self) -> bool {
        self.tables.rows(DOCUMENT) > 0xFFFF
    }

    /// A row by its number, from 1.
    fn row(&self, table: usize, number: u32) -> Option<&[u8]> {
        let index = |is_wide: bool| if is_wide { 4 } else { 2 };
        let (blob, guid) = (index(self.tables.has_wide_blobs()), index(self.tables.has_wide_guids()));
        // Name, algorithm of a hash, hash, language; and document, statements.
        let sizes = [(DOCUMENT, 2 * blob + 2 * guid), (METHOD, index(self.has_wide_documents()) + blob)];
        let mut start = self.rows;
        for (of, size) in sizes {
            let rows = self.tables.rows(of);
            if of == table {
                let before = number.checked_sub(1).filter(|&before| before < rows)? as usize;
                return self.bytes.get(start.checked_add(before.checked_mul(size)?)?..)?.get(..size);
            }
            start = start.checked_add((rows as usize).checked_mul(size)?)?;
        }
        None
    }

    fn blob(&self, index: u32) -> Option<&[u8]> {
        let mut rest = Cursor(self.bytes.get(self.blobs.checked_add(index as usize)?..)?);
        let size = rest.compressed()? as usize;
        if size > LARGEST_BLOB { None } else { rest.take(size) }
    }

    /// The last of the parts of a path, which a character separates.
    fn document_name(&self, name: &[u8]) -> Option<String> {
        let mut parts = Cursor(name);
        let _separator = parts.byte()?;
        let mut last = None;
        for _ in 0..MOST_PARTS {
            if parts.0.is_empty() {
                return file_name(self.blob(last?)?);
            }
            last = Some(parts.compressed()?);
        }
        None
    }
}

/// Document and line of the last statement that begins at the instruction or before.
fn find(blob: &[u8], mut document: u32, wanted: u32) -> Option<(u32, u32)> {
    let mut blob = Cursor(blob);
    let _locals = blob.compressed()?;
    if document == 0 {
        document = blob.compressed()?;
    }
    let (mut offset, mut line) = (0_u32, None::<u32>);
    let mut found = None;
    let mut is_first = true;
    while !blob.0.is_empty() {
        let distance = blob.compressed()?;
        if distance == 0 && !is_first {
            document = blob.compressed()?;
            continue;
        }
        is_first = false;
        offset = offset.checked_add(distance)?;
        if offset > wanted {
            break;
        }
        let lines = blob.compressed()?;
        let columns = if lines == 0 { blob.compressed()? as i32 } else { blob.compressed_signed()? };
        // What the compiler has added has neither: the statement is the one before.
        if (lines, columns) == (0, 0) {
            continue;
        }
        let begins = match line {
            None => blob.compressed()?,
            Some(line) => line.checked_add_signed(blob.compressed_signed()?)?,
        };
        // The column: of the first statement a number, of others the difference.
        if line.is_none() {
            blob.compressed()? as i32
        } else {
            blob.compressed_signed()?
        };
        line = Some(begins);
        found = Some((document, begins));
    }
    found
}
