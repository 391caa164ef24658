//! Lists in answers. Rows are encoded one by one into the body, and a page ends at 1 MiB, so that
//! the memory of an answer does not depend on how large the callers have made its rows.

use serde::Serialize;

use super::{Codec, xml};

/// The largest page of a list, in bytes of encoded rows. A page with a single row may be larger.
/// The limits of the texts keep every row below it; only accounts that an earlier version stored
/// may have larger rows.
pub const MAX_PAGE: usize = 1 << 20;

/// One page of a list, encoded.
#[derive(Debug)]
pub struct Rows<R> {
    codec: Codec,
    element: &'static str,
    begin: usize,
    written: Vec<u8>,
    /// The number of rows on the page.
    pub count: usize,
    /// The last row of the page. `None` if the page is empty.
    pub last: Option<R>,
    /// Whether rows were left out because the page was full.
    pub is_cut: bool,
}

impl<R> Rows<R> {
    /// Encodes rows until the page is full. `begin` stands before the first row. In XML each row is
    /// an `element`; in JSON commas separate the rows.
    ///
    /// # Errors
    /// If the format cannot express a row. That is a defect of the row's type.
    pub fn encode<D: Serialize>(
        codec: Codec,
        begin: &str,
        element: &'static str,
        rows: impl IntoIterator<Item = R>,
        document: impl FnMut(&R) -> D,
    ) -> Result<Self, String> {
        let mut page = Self {
            codec,
            element,
            begin: begin.len(),
            written: begin.as_bytes().to_vec(),
            count: 0,
            last: None,
            is_cut: false,
        };
        page.add(rows, document)?;
        Ok(page)
    }

    /// Encodes more rows, until the page is full.
    ///
    /// # Errors
    /// As [`Rows::encode`].
    pub fn add<D: Serialize>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
        mut document: impl FnMut(&R) -> D,
    ) -> Result<(), String> {
        for row in rows {
            let encoded = encode_row(self.codec, self.element, &document(&row))?;
            let separator: &[u8] = match (self.codec, &self.last) {
                (Codec::Json, Some(_)) => b",",
                (Codec::Json, None) | (Codec::Xml, _) => b"",
            };
            let length = self.written.len() + separator.len() + encoded.len();
            if self.last.is_some() && length > self.begin + MAX_PAGE {
                self.is_cut = true;
                break;
            }
            self.written.extend_from_slice(separator);
            self.written.extend_from_slice(&encoded);
            self.count += 1;
            self.last = Some(row);
        }
        Ok(())
    }

    /// The body of the answer: what was written, and `end` behind it.
    #[must_use]
    pub fn finish(mut self, end: &str) -> Vec<u8> {
        self.written.extend_from_slice(end.as_bytes());
        // The vector has grown by doubling. The body may wait long for a slow client.
        self.written.shrink_to_fit();
        self.written
    }
}

/// Encodes a row of a list. In XML it is an element with this name.
///
/// # Errors
/// As [`Rows::encode`].
pub fn encode_row<D: Serialize>(codec: Codec, element: &str, row: &D) -> Result<Vec<u8>, String> {
    match codec {
        Codec::Json => serde_json::to_vec(row).map_err(|error| error.to_string()),
        Codec::Xml => quick_xml::se::to_string_with_root(element, row)
            .map(|row| xml::legal(row).into_bytes())
            .map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages of a list of texts, read one after the other.
    fn pages(codec: Codec, texts: &[String]) -> Vec<(usize, usize)> {
        let (mut pages, mut read) = (Vec::new(), 0);
        loop {
            let rest = texts.get(read..).unwrap_or_default().iter().enumerate();
            let page = Rows::encode(codec, "[", "item", rest, |(_, text)| text.as_str()).unwrap();
            let (rows, is_cut) = (
                page.last.as_ref().map_or(0, |(last, _)| last + 1),
                page.is_cut,
            );
            read += rows;
            pages.push((rows, page.finish("]").len()));
            if !is_cut {
                assert_eq!(read, texts.len());
                return pages;
            }
        }
    }

    #[test]
    fn a_page_ends_before_the_row_that_would_make_it_too_large() {
        for codec in [Codec::Json, Codec::Xml] {
            let small = vec!["x".repeat(1_000); 3_000];
            let read = pages(codec, &small);
            assert!(read.len() > 2, "{read:?}");
            assert!(read.iter().all(|(_, bytes)| *bytes <= MAX_PAGE + 2));
            let (large, huge) = ("x".repeat(MAX_PAGE / 2), "x".repeat(2 * MAX_PAGE));
            let mixed = [huge.clone(), large.clone(), large, huge];
            let rows: Vec<_> = pages(codec, &mixed).iter().map(|page| page.0).collect();
            assert_eq!(rows, [1, 1, 1, 1]);
            assert_eq!(pages(codec, &[]), [(0, 2)]);
        }
    }
}
