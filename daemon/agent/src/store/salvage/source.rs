//! The damaged database as a source of rows: its tables by name, and what became of the pages that nothing leads to any
//! more.
//!
//! All trees are walked first. Where an inner page, a root or part of the schema is damaged, leaves remain that nothing
//! points at: they are given to the table whose columns all their rows fit, among the tables that miss something. Columns
//! are `STRICT`, so types tell a lot. Freed pages hold zeros (`PRAGMA secure_delete`), so nothing deleted comes back.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::btree::{self, Kind, Row, Walk, kind};
use super::pages::Pages;
use super::record::Value;
use crate::store::account_db::wal_path;
use crate::vault::DatabaseKey;

/// Most entries of a schema that are read.
const SCHEMA: usize = 10_000;

/// What a column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// INTEGER
    Integer,
    /// REAL
    Real,
    /// TEXT
    Text,
    /// BLOB
    Blob,
}

/// A column, in the order of records.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Type,
    /// NULL is refused.
    pub not_null: bool,
    /// A row may leave it out.
    pub has_default: bool,
    /// It is the number of the row, which records leave out.
    pub is_rowid: bool,
}

/// A table as records see it.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name.
    pub table: String,
    /// In the order of records.
    pub columns: Vec<Column>,
    /// `WITHOUT ROWID`: rows are entries of an index.
    pub is_index: bool,
}

impl Shape {
    /// Whether a row can be one of this table.
    pub fn fits(&self, row: &Row) -> bool {
        let values = &row.record.0;
        let missing = self.columns.get(values.len()..);
        missing.is_some_and(|missing| {
            missing
                .iter()
                .all(|column| column.has_default || !column.not_null)
        }) && !values.is_empty()
            && values
                .iter()
                .zip(&self.columns)
                .all(|(value, column)| match value {
                    Value::Null => column.is_rowid || !column.not_null,
                    _ if column.is_rowid => false,
                    Value::Integer(_) => matches!(column.kind, Type::Integer | Type::Real),
                    Value::Real(_) => column.kind == Type::Real,
                    Value::Text(_) => column.kind == Type::Text,
                    Value::Blob(_) => column.kind == Type::Blob,
                })
    }
}

/// The pages of one tree.
#[derive(Default)]
struct Tree {
    holding: Vec<u32>,
    whole: bool,
}

/// A damaged database that is read.
pub struct Source {
    pages: Pages,
    walk: Walk,
    trees: HashMap<String, Tree>,
}

impl Source {
    /// Opens it and walks all trees. `None` when nothing in it was written with this key.
    pub fn open(path: &Path, key: &DatabaseKey) -> io::Result<Option<Self>> {
        let Some(pages) = Pages::open(path, &wal_path(path), key)? else {
            return Ok(None);
        };
        let walk = Walk::new(&pages);
        let mut source = Self {
            pages,
            walk,
            trees: HashMap::new(),
        };
        let (holding, whole) = source.walk.tree(&source.pages, 1);
        let mut roots = source.schema(&holding);
        if !whole {
            // Whatever looks like an entry of the schema is one; a table of ours has other columns.
            let strays = source.strays(Kind::TableLeaf);
            roots.extend(source.schema(&strays));
        }
        for (name, root) in roots {
            let (holding, whole) = source.walk.tree(&source.pages, root);
            source.trees.entry(name).or_insert(Tree { holding, whole });
        }
        Ok(Some(source))
    }

    /// Names and roots of tables and indexes.
    fn schema(&mut self, holding: &[u32]) -> Vec<(String, u32)> {
        let mut roots = Vec::new();
        for number in holding {
            let rows = read_unclaimed(&self.pages, *number);
            let entries: Vec<_> = rows.iter().filter_map(entry).collect();
            if entries.is_empty() || roots.len() + entries.len() > SCHEMA {
                continue;
            }
            // Claims what belongs to them.
            drop(self.walk.rows(&self.pages, *number));
            roots.extend(entries);
        }
        roots.retain(|(_, root)| *root > 1);
        roots
    }

    /// Pages of a kind that nothing leads to.
    fn strays(&self, wanted: Kind) -> Vec<u32> {
        (2..=self.pages.count())
            .filter(|number| !self.walk.is_claimed(*number))
            .filter(|number| {
                let page = self.pages.page(*number);
                page.is_some_and(|page| kind(&page, *number) == Some(wanted))
            })
            .collect()
    }

    /// Gives the pages that nothing leads to, to the tables that miss something.
    pub fn adopt_strays(&mut self, shapes: &[Shape]) {
        let missing: Vec<&Shape> = shapes
            .iter()
            .filter(|shape| self.trees.get(&shape.table).is_none_or(|tree| !tree.whole))
            .collect();
        if missing.is_empty() {
            return;
        }
        for wanted in [Kind::TableLeaf, Kind::IndexLeaf, Kind::IndexInner] {
            for number in self.strays(wanted) {
                let rows = read_unclaimed(&self.pages, number);
                let fitting = |shape: &&&Shape| {
                    shape.is_index == (wanted != Kind::TableLeaf)
                        && !rows.is_empty()
                        && rows.iter().all(|row| shape.fits(row))
                };
                // The one with the fewest columns left out is the closest.
                let closest = missing
                    .iter()
                    .filter(fitting)
                    .min_by_key(|shape| shape.columns.len());
                if let Some(shape) = closest {
                    let tree = self.trees.entry(shape.table.clone()).or_default();
                    tree.holding.push(number);
                }
            }
        }
    }

    /// Pages that hold rows of a table or entries of an index.
    pub fn holding(&self, name: &str) -> Vec<u32> {
        self.trees
            .get(name)
            .map_or_else(Vec::new, |tree| tree.holding.clone())
    }

    /// Rows of one of those pages.
    pub fn rows(&mut self, number: u32) -> Vec<Row> {
        self.walk.rows(&self.pages, number)
    }

    /// Damaged pages in all, whether something leads to them or not.
    pub fn damaged_pages(&self) -> u64 {
        (1..=self.pages.count())
            .filter(|number| self.pages.page(*number).is_none())
            .count() as u64
    }

    /// Version of its schema, where that can be read.
    pub fn version(&mut self) -> Option<i64> {
        let mut versions = Vec::new();
        for number in self.holding("_sqlx_migrations") {
            versions.extend(self.rows(number).into_iter().map(|row| row.rowid));
        }
        versions.into_iter().max()
    }
}

/// Rows of a page, without claiming anything.
fn read_unclaimed(pages: &Pages, number: u32) -> Vec<Row> {
    btree::rows(pages, number, &mut |_| {})
}

/// Name and root of an entry of the schema.
fn entry(row: &Row) -> Option<(String, u32)> {
    let [kind, name, table, root, _] = row.record.0.as_slice() else {
        return None;
    };
    table.text()?;
    if !matches!(kind.text()?, "table" | "index") {
        return None;
    }
    Some((
        name.text()?.to_owned(),
        u32::try_from(root.integer()?).ok()?,
    ))
}
