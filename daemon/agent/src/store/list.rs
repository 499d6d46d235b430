//! Lists of values in statements.

use sqlx::{Encode, QueryBuilder, Sqlite, Type};

/// Writes the values and the parenthesis that ends them, as behind `IN (`.
pub(super) fn push_list<'t, T>(
    query: &mut QueryBuilder<Sqlite>,
    values: impl IntoIterator<Item = T>,
) where
    T: Encode<'t, Sqlite> + Type<Sqlite>,
{
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}
