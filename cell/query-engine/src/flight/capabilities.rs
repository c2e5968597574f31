//! `GetSqlInfo`: what this server can do. Clients stop at the first value they miss, so all of
//! them are here.

use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo as I, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedGroupBy,
    SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction,
    SqlSupportedUnions, SqlSupportsConvert as Convert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use std::collections::BTreeMap;

/// No limit, as JDBC writes it.
const UNLIMITED: i64 = 0;
/// Bit of each listed value of an enumeration.
fn bits(values: &[i32]) -> i32 {
    values.iter().fold(0, |mask, value| mask | (1 << value))
}

pub(super) fn all(statement_seconds: u64) -> Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    server(&mut info, statement_seconds);
    names(&mut info);
    language(&mut info);
    transactions(&mut info);
    limits(&mut info);
    info.build()
}

fn server(info: &mut SqlInfoDataBuilder, statement_seconds: u64) {
    info.append(I::FlightSqlServerName, "Cytoplane");
    info.append(I::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(I::FlightSqlServerArrowVersion, "1.3");
    info.append(I::FlightSqlServerReadOnly, true);
    info.append(I::FlightSqlServerSql, true);
    info.append(I::FlightSqlServerSubstrait, false);
    info.append(I::FlightSqlServerSubstraitMinVersion, "");
    info.append(I::FlightSqlServerSubstraitMaxVersion, "");
    info.append(I::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(I::FlightSqlServerCancel, true);
    info.append(I::FlightSqlServerBulkIngestion, false);
    info.append(I::FlightSqlServerIngestTransactionsSupported, false);
    let milliseconds = i32::try_from(statement_seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
    info.append(I::FlightSqlServerStatementTimeout, milliseconds);
    info.append(I::FlightSqlServerTransactionTimeout, 0);
}

fn names(info: &mut SqlInfoDataBuilder) {
    info.append(I::SqlDdlCatalog, false);
    info.append(I::SqlDdlSchema, false);
    info.append(I::SqlDdlTable, false);
    info.append(I::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(I::SqlIdentifierQuoteChar, "\"");
    // Quoted names keep their case and differ by it.
    info.append(I::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    info.append(I::SqlAllTablesAreSelectable, true);
    info.append(I::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(I::SqlSchemaTerm, "schema");
    info.append(I::SqlProcedureTerm, "procedure");
    info.append(I::SqlCatalogTerm, "tenant");
    info.append(I::SqlCatalogAtStart, true);
    info.append(I::SqlSchemasSupportedActions, 0);
    info.append(I::SqlCatalogsSupportedActions, 0);
    info.append(I::SqlSearchStringEscape, "\\");
    info.append(I::SqlExtraNameCharacters, "");
}

// length: a flat table of facts, one line each; cutting it would only hide the order of the protocol.
fn language(info: &mut SqlInfoDataBuilder) {
    info.append(I::SqlKeywords, &["ANTI", "EXCLUDE", "ILIKE", "QUALIFY", "SEMI", "TRY_CAST", "UNNEST"] as &[&str]);
    info.append(
        I::SqlNumericFunctions,
        &[
            "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "degrees", "exp", "floor", "ln", "log", "log10",
            "pi", "power", "radians", "random", "round", "sign", "sin", "sqrt", "tan", "trunc",
        ] as &[&str],
    );
    info.append(
        I::SqlStringFunctions,
        &[
            "ascii",
            "btrim",
            "chr",
            "concat",
            "initcap",
            "left",
            "length",
            "lower",
            "lpad",
            "ltrim",
            "regexp_like",
            "regexp_replace",
            "repeat",
            "replace",
            "reverse",
            "right",
            "rpad",
            "rtrim",
            "split_part",
            "strpos",
            "substr",
            "translate",
            "trim",
            "upper",
        ] as &[&str],
    );
    info.append(I::SqlSystemFunctions, &["coalesce", "nullif", "version"] as &[&str]);
    info.append(
        I::SqlDatetimeFunctions,
        &["current_date", "current_time", "date_bin", "date_part", "date_trunc", "now", "to_timestamp"] as &[&str],
    );
    info.append(I::SqlSupportsColumnAliasing, true);
    info.append(I::SqlNullPlusNullIsNull, true);
    info.append(I::SqlSupportsConvert, conversions());
    info.append(I::SqlSupportsTableCorrelationNames, true);
    info.append(I::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(I::SqlSupportsExpressionsInOrderBy, true);
    info.append(I::SqlSupportsOrderByUnrelated, true);
    info.append(I::SqlSupportedGroupBy, bits(&[SqlSupportedGroupBy::SqlGroupByUnrelated as i32]));
    info.append(I::SqlSupportsLikeEscapeClause, true);
    info.append(I::SqlSupportsNonNullableColumns, true);
    let grammars = [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    info.append(I::SqlSupportedGrammar, bits(&grammars));
    // Entry level.
    info.append(I::SqlAnsi92SupportedLevel, 1);
    info.append(I::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(I::SqlOuterJoinsSupportLevel, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32);
    info.append(I::SqlSupportedPositionedCommands, 0);
    info.append(I::SqlSelectForUpdateSupported, false);
    info.append(I::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    info.append(I::SqlSupportedSubqueries, bits(&subqueries));
    info.append(I::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    info.append(I::SqlSupportedUnions, bits(&unions));
    info.append(I::SqlNamedParametersSupported, true);
    info.append(I::SqlLocatorsUpdateCopy, false);
    info.append(I::SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

/// Which types `CAST` turns into which.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    let numbers = [
        Convert::SqlConvertBigint as i32,
        Convert::SqlConvertDecimal as i32,
        Convert::SqlConvertFloat as i32,
        Convert::SqlConvertInteger as i32,
        Convert::SqlConvertReal as i32,
        Convert::SqlConvertSmallint as i32,
        Convert::SqlConvertTinyint as i32,
        Convert::SqlConvertVarchar as i32,
    ];
    let times =
        [Convert::SqlConvertDate as i32, Convert::SqlConvertTimestamp as i32, Convert::SqlConvertVarchar as i32];
    let text: Vec<i32> = numbers.iter().chain(&times).copied().collect();
    let mut all: BTreeMap<i32, Vec<i32>> = numbers.iter().map(|from| (*from, numbers.to_vec())).collect();
    all.extend(times.iter().map(|from| (*from, times.to_vec())));
    all.insert(Convert::SqlConvertVarchar as i32, text);
    all
}

fn transactions(info: &mut SqlInfoDataBuilder) {
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    info.append(I::SqlDefaultTransactionIsolation, i64::from(none));
    info.append(I::SqlTransactionsSupported, false);
    info.append(I::SqlSupportedTransactionsIsolationLevels, bits(&[none]));
    info.append(I::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(I::SqlDataDefinitionsInTransactionsIgnored, false);
    let forward = bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]);
    let read_only = bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]);
    info.append(I::SqlSupportedResultSetTypes, forward);
    info.append(I::SqlSupportedConcurrenciesForResultSetUnspecified, read_only);
    info.append(I::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    info.append(I::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0);
    info.append(I::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0);
    info.append(I::SqlBatchUpdatesSupported, false);
    info.append(I::SqlSavepointsSupported, false);
}

fn limits(info: &mut SqlInfoDataBuilder) {
    for unlimited in [
        I::SqlMaxBinaryLiteralLength,
        I::SqlMaxCharLiteralLength,
        I::SqlMaxColumnNameLength,
        I::SqlMaxColumnsInGroupBy,
        I::SqlMaxColumnsInIndex,
        I::SqlMaxColumnsInOrderBy,
        I::SqlMaxColumnsInSelect,
        I::SqlMaxColumnsInTable,
        I::SqlMaxConnections,
        I::SqlMaxCursorNameLength,
        I::SqlMaxIndexLength,
        I::SqlMaxProcedureNameLength,
        I::SqlMaxRowSize,
        I::SqlMaxStatementLength,
        I::SqlMaxStatements,
        I::SqlMaxTablesInSelect,
        I::SqlMaxUsernameLength,
    ] {
        info.append(unlimited, UNLIMITED);
    }
    info.append(I::SqlMaxRowSizeIncludesBlobs, true);
    info.append(I::SqlDbSchemaNameLength, 128_i64);
    info.append(I::SqlMaxCatalogNameLength, 39_i64);
    info.append(I::SqlMaxTableNameLength, 128_i64);
}
