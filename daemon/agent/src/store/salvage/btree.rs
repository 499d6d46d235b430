//! B-trees of a database, read page by page: SQLite's file format, sections "B-tree Pages" and "Cell Payload Overflow
//! Pages". What does not parse is skipped and counted; nothing in a file can make this panic, loop or grow without
//! bound.

use zeroize::Zeroizing;

use super::pages::{Page, Pages, USABLE};
use super::record::{Record, varint};

/// Largest row that is taken over, bytes. The largest the agent writes is far smaller.
const LARGEST: usize = 32 * 1024 * 1024;
/// Deepest tree.
const DEEPEST: usize = 40;

/// Kinds of page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Inner page of a table: keys and children.
    TableInner,
    /// Rows of a table.
    TableLeaf,
    /// Inner page of an index, with entries of its own.
    IndexInner,
    /// Entries of an index.
    IndexLeaf,
}

/// One row or entry.
pub struct Row {
    /// Number of the row; 0 for entries of an index.
    pub rowid: i64,
    /// Its values.
    pub record: Record,
}

/// Which pages belong to what was read.
pub struct Walk {
    /// By number.
    claimed: Vec<bool>,
}

impl Walk {
    /// Nothing is claimed yet.
    pub fn new(pages: &Pages) -> Self {
        Self {
            claimed: vec![false; pages.count() as usize + 1],
        }
    }

    /// Whether a page belongs to what was read.
    pub fn is_claimed(&self, number: u32) -> bool {
        self.claimed.get(number as usize).copied().unwrap_or(true)
    }

    /// Takes a page; false when it was taken before.
    fn claim(&mut self, number: u32) -> bool {
        match self.claimed.get_mut(number as usize) {
            Some(claimed) => !std::mem::replace(claimed, true),
            None => false,
        }
    }

    /// Numbers of the pages of a tree that hold rows or entries. The second value says whether it is whole.
    pub fn tree(&mut self, pages: &Pages, root: u32) -> (Vec<u32>, bool) {
        let mut holding = Vec::new();
        let mut whole = true;
        let mut ahead = vec![(root, 0)];
        while let Some((number, depth)) = ahead.pop() {
            if depth > DEEPEST || !self.claim(number) {
                whole = false;
                continue;
            }
            let page = pages.page(number);
            let kind = page.as_deref().and_then(|page| kind(page, number));
            let (Some(page), Some(kind)) = (page, kind) else {
                whole = false;
                continue;
            };
            if kind != Kind::TableInner {
                holding.push(number);
            }
            if matches!(kind, Kind::TableInner | Kind::IndexInner) {
                let children = children(&page, number);
                ahead.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
            }
        }
        (holding, whole)
    }

    /// Rows or entries of one page, which is taken with all that belongs to them.
    pub fn rows(&mut self, pages: &Pages, number: u32) -> Vec<Row> {
        self.claim(number);
        rows(pages, number, &mut |page| {
            self.claim(page);
        })
    }
}

/// Rows or entries of one page; those that make no sense are left out. `meet` is told which pages they go on.
pub fn rows(pages: &Pages, number: u32, meet: &mut dyn FnMut(u32)) -> Vec<Row> {
    let Some(page) = pages.page(number) else {
        return Vec::new();
    };
    let Some(kind) = kind(&page, number) else {
        return Vec::new();
    };
    cells(&page, number)
        .into_iter()
        .filter_map(|at| row(pages, &page, kind, at, meet))
        .collect()
}

fn row(
    pages: &Pages,
    page: &Page,
    kind: Kind,
    at: usize,
    meet: &mut dyn FnMut(u32),
) -> Option<Row> {
    let mut rest = page.get(at..)?;
    if kind == Kind::IndexInner {
        rest = rest.get(4..)?;
    }
    let size = usize::try_from(varint(&mut rest)?).ok()?;
    let rowid = match kind {
        Kind::TableLeaf => varint(&mut rest)?.cast_signed(),
        _ => 0,
    };
    if size > LARGEST {
        return None;
    }
    let local = local(size, kind);
    let mut payload = Zeroizing::new(rest.get(..local)?.to_vec());
    if local < size {
        let next = rest.get(local..local + 4)?;
        let next = u32::from_be_bytes(next.try_into().ok()?);
        overflow(pages, &mut payload, size, next, meet)?;
    }
    Some(Row {
        rowid,
        record: Record::parse(&payload)?,
    })
}

/// Appends what lies on other pages.
fn overflow(
    pages: &Pages,
    payload: &mut Vec<u8>,
    size: usize,
    mut next: u32,
    meet: &mut dyn FnMut(u32),
) -> Option<()> {
    while payload.len() < size {
        meet(next);
        let page = pages.page(next)?;
        let (head, content) = page.split_at_checked(4)?;
        let take = content.len().min(size - payload.len());
        payload.extend_from_slice(content.get(..take)?);
        next = u32::from_be_bytes(head.try_into().ok()?);
    }
    Some(())
}

/// Where the header of a page begins.
fn start(number: u32) -> usize {
    if number == 1 { 100 } else { 0 }
}

/// What a page is.
pub fn kind(page: &[u8], number: u32) -> Option<Kind> {
    match page.get(start(number))? {
        5 => Some(Kind::TableInner),
        13 => Some(Kind::TableLeaf),
        2 => Some(Kind::IndexInner),
        10 => Some(Kind::IndexLeaf),
        _ => None,
    }
}

/// Whether a page other than the first looks like one, or is empty.
pub fn is_plausible(page: &[u8]) -> bool {
    if page.iter().all(|byte| *byte == 0) {
        return true;
    }
    let Some(kind) = kind(page, 2) else {
        return false;
    };
    let cells = cells(page, 2);
    let header = header_size(kind);
    let declared = page.get(3..5).map_or(0, |two| usize::from(short(two)));
    declared == cells.len() && cells.iter().all(|at| *at >= header + 2 * declared)
}

fn header_size(kind: Kind) -> usize {
    match kind {
        Kind::TableInner | Kind::IndexInner => 12,
        Kind::TableLeaf | Kind::IndexLeaf => 8,
    }
}

fn short(two: &[u8]) -> u16 {
    u16::from_be_bytes(two.try_into().unwrap_or_default())
}

/// Where the cells of a page begin; those that lie outside it are left out.
fn cells(page: &[u8], number: u32) -> Vec<usize> {
    let start = start(number);
    let Some(kind) = kind(page, number) else {
        return Vec::new();
    };
    let count = page.get(start + 3..start + 5).map_or(0, short);
    let list = page.get(start + header_size(kind)..).unwrap_or_default();
    list.chunks_exact(2)
        .take(usize::from(count))
        .map(|two| usize::from(short(two)))
        .filter(|at| *at < USABLE && *at > start)
        .collect()
}

fn children(page: &[u8], number: u32) -> Vec<u32> {
    let number_at = |at: usize| {
        let four = page.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    let mut children: Vec<u32> = cells(page, number)
        .into_iter()
        .filter_map(number_at)
        .collect();
    children.extend(number_at(start(number) + 8));
    children
}

/// How much of a payload lies on the page itself.
fn local(size: usize, kind: Kind) -> usize {
    let most = match kind {
        Kind::TableLeaf => USABLE - 35,
        _ => (USABLE - 12) * 64 / 255 - 23,
    };
    if size <= most {
        return size;
    }
    let least = (USABLE - 12) * 32 / 255 - 23;
    let spread = least + (size - least) % (USABLE - 4);
    if spread <= most { spread } else { least }
}
