//! `GetXdbcTypeInfo`: the SQL types, as JDBC and ODBC list them.

use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType as X, XdbcDatetimeSubcode};

pub(super) fn all() -> Result<XdbcTypeInfoData> {
    let mut info = XdbcTypeInfoDataBuilder::new();
    // Precision in bits for binary numbers, in digits for decimals.
    for (name, kind, precision, unsigned) in [
        ("TINYINT", X::XdbcTinyint, 8, false),
        ("SMALLINT", X::XdbcSmallint, 16, false),
        ("INTEGER", X::XdbcInteger, 32, false),
        ("BIGINT", X::XdbcBigint, 64, false),
        ("BIGINT UNSIGNED", X::XdbcBigint, 64, true),
        ("REAL", X::XdbcReal, 24, false),
        ("DOUBLE", X::XdbcDouble, 53, false),
    ] {
        info.append(XdbcTypeInfo {
            unsigned_attribute: Some(unsigned),
            num_prec_radix: Some(2),
            ..basic(name, kind, precision, None)
        });
    }
    info.append(XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        fixed_prec_scale: true,
        unsigned_attribute: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(38),
        num_prec_radix: Some(10),
        ..basic("DECIMAL", X::XdbcDecimal, 38, None)
    });
    info.append(basic("BOOLEAN", X::XdbcBit, 1, None));
    info.append(XdbcTypeInfo { case_sensitive: true, ..basic("VARCHAR", X::XdbcVarchar, i32::MAX, Some(("'", "'"))) });
    info.append(basic("VARBINARY", X::XdbcVarbinary, i32::MAX, Some(("X'", "'"))));
    info.append(basic("DATE", X::XdbcDate, 10, Some(("DATE '", "'"))));
    for (name, kind, code, prefix, length) in [
        ("TIME", X::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, "TIME '", 15),
        ("TIMESTAMP", X::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, "TIMESTAMP '", 26),
    ] {
        info.append(XdbcTypeInfo {
            minimum_scale: Some(0),
            maximum_scale: Some(6),
            sql_data_type: X::XdbcDatetime,
            datetime_subcode: Some(code),
            ..basic(name, kind, length, Some((prefix, "'")))
        });
    }
    info.build()
}

fn basic(name: &str, kind: X, size: i32, literal: Option<(&str, &str)>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        column_size: Some(size),
        literal_prefix: literal.map(|(prefix, _)| prefix.to_owned()),
        literal_suffix: literal.map(|(_, suffix)| suffix.to_owned()),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        local_type_name: Some(name.to_owned()),
        sql_data_type: kind,
        ..XdbcTypeInfo::default()
    }
}
