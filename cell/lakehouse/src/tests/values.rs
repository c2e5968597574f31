//! What is written is what was given, and bounds never exclude it.

use arrow::array::{
    BooleanArray, DictionaryArray, Float32Array, Int64Array, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int32Type, TimeUnit};

use super::*;

#[tokio::test]
async fn bounds_hold_for_every_row_group_also_when_one_has_long_texts() {
    let bucket = acme(&bucket());
    let table = table(&bucket);
    let options = WriteOptions { row_group_rows: 1_024, ..WriteOptions::default() };
    for (long, from) in [("zz", 0), ("aa", 1_024)] {
        let texts = (0..2_048).map(|n| match n / 1_024 * 1_024 == from {
            true => long.repeat(100),
            false => "mm".to_owned(),
        });
        let carrier = Arc::new(StringArray::from_iter_values(texts)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("carrier", carrier)]).unwrap();
        let rows = stream::iter([Ok::<_, Error>(batch)]);
        let made = write::write_parquet(&bucket, &table.metadata, rows, &options).await.unwrap();
        let text = |bounds: &HashMap<i32, iceberg::spec::Datum>| match bounds.get(&1).unwrap().literal() {
            PrimitiveLiteral::String(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        let (lower, upper) = (text(made.files[0].lower_bounds()), text(made.files[0].upper_bounds()));
        assert!(lower.as_str() <= "mm" && lower <= long.repeat(100), "{lower} {long}");
        assert!(upper.as_str() >= "mm" && upper >= long.repeat(100), "{upper} {long}");
        assert!(lower.len() <= 16 && upper.len() <= 16);
    }
}

fn conformed(given: ArrayRef, to: DataType) -> Result<ArrayRef, Error> {
    let table = Arc::new(ArrowSchema::new(vec![Field::new("a", to, true)]));
    let batch = RecordBatch::try_from_iter_with_nullable([("a", given, true)]).unwrap();
    schema::conform(&batch, &table).map(|batch| batch.column(0).clone())
}

#[test]
fn a_cast_that_would_change_a_value_is_refused() {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let refused: Vec<(ArrayRef, DataType)> = vec![
        (Arc::new(Float64Array::from(vec![1.0, 1.5])), DataType::Int64),
        (Arc::new(Int64Array::from(vec![(1 << 53) + 1])), DataType::Float64),
        (Arc::new(Int64Array::from(vec![1 << 40])), DataType::Int32),
        (Arc::new(Float64Array::from(vec![1e300])), DataType::Float32),
        (Arc::new(TimestampNanosecondArray::from(vec![1_001])), micros(None)),
        (Arc::new(TimestampMicrosecondArray::from(vec![1])), micros(Some("+00:00"))),
        (Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")), micros(None)),
        (Arc::new(Int64Array::from(vec![5])), DataType::Boolean),
    ];
    for (given, to) in refused {
        let text = format!("{:?} {to}", given.data_type());
        assert!(matches!(conformed(given, to), Err(Error::Schema(_))), "{text}");
    }
}

#[test]
fn a_cast_that_keeps_every_value_is_made() {
    let words: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
    let kept: Vec<(ArrayRef, DataType)> = vec![
        (Arc::new(Float64Array::from(vec![Some(1.0), None])), DataType::Int64),
        (Arc::new(Int64Array::from(vec![Some(7), None])), DataType::Int32),
        (Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::INFINITY])), DataType::Float32),
        (Arc::new(Float32Array::from(vec![0.1, f32::NAN])), DataType::Float64),
        (Arc::new(TimestampNanosecondArray::from(vec![1_000])), DataType::Timestamp(TimeUnit::Microsecond, None)),
        (Arc::new(words), DataType::Utf8),
        (Arc::new(StringArray::from(vec!["17"])), DataType::Int64),
        (Arc::new(BooleanArray::from(vec![true])), DataType::Int32),
        (arrow::array::new_null_array(&DataType::Null, 3), DataType::Utf8),
    ];
    for (given, to) in kept {
        let text = format!("{:?} {to}", given.data_type());
        assert_eq!(conformed(given, to.clone()).unwrap().data_type(), &to, "{text}");
    }
}

#[test]
fn columns_that_iceberg_has_no_type_for_are_the_givers_mistake() {
    let odd = ArrowSchema::new(vec![Field::new("a", DataType::Duration(TimeUnit::Second), true)]);
    assert!(matches!(schema::from_arrow(&odd), Err(Error::Schema(_))));
}
