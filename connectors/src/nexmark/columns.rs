//! Events as columns: the schema of each table, and how each column is read from the events. No state.

use super::Table;
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use headwater_core::Result;
use nexmark::event::{Auction, Bid, Event, Person};
use std::sync::Arc;

const NANOS_PER_MILLI: i64 = 1_000_000;
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// A column of a kind of event, and how it is read.
struct Column<T>(&'static str, Value<T>);

enum Value<T> {
    Number(fn(&T) -> usize),
    /// Milliseconds since 1970.
    Time(fn(&T) -> u64),
    Text(fn(&T) -> &str),
}

const PERSON: [Column<Person>; 8] = [
    Column("id", Value::Number(|person| person.id)),
    Column("name", Value::Text(|person| &person.name)),
    Column("email_address", Value::Text(|person| &person.email_address)),
    Column("credit_card", Value::Text(|person| &person.credit_card)),
    Column("city", Value::Text(|person| &person.city)),
    Column("state", Value::Text(|person| &person.state)),
    Column("date_time", Value::Time(|person| person.date_time)),
    Column("extra", Value::Text(|person| &person.extra)),
];

const AUCTION: [Column<Auction>; 10] = [
    Column("id", Value::Number(|auction| auction.id)),
    Column("item_name", Value::Text(|auction| &auction.item_name)),
    Column("description", Value::Text(|auction| &auction.description)),
    Column("initial_bid", Value::Number(|auction| auction.initial_bid)),
    Column("reserve", Value::Number(|auction| auction.reserve)),
    Column("date_time", Value::Time(|auction| auction.date_time)),
    Column("expires", Value::Time(|auction| auction.expires)),
    Column("seller", Value::Number(|auction| auction.seller)),
    Column("category", Value::Number(|auction| auction.category)),
    Column("extra", Value::Text(|auction| &auction.extra)),
];

const BID: [Column<Bid>; 7] = [
    Column("auction", Value::Number(|bid| bid.auction)),
    Column("bidder", Value::Number(|bid| bid.bidder)),
    Column("price", Value::Number(|bid| bid.price)),
    Column("channel", Value::Text(|bid| &bid.channel)),
    Column("url", Value::Text(|bid| &bid.url)),
    Column("date_time", Value::Time(|bid| bid.date_time)),
    Column("extra", Value::Text(|bid| &bid.extra)),
];

/// The columns of the table of all events, in order.
const EVENTS: [&str; 5] = ["event_type", "person", "auction", "bid", "date_time"];

impl<T> Column<T> {
    fn field(&self, nullable: bool) -> Field {
        let data_type = match self.1 {
            Value::Number(_) => DataType::Int64,
            Value::Time(_) => TIMESTAMP,
            Value::Text(_) => DataType::Utf8,
        };
        Field::new(self.0, data_type, nullable)
    }

    /// Reads the column; rows of another kind of event are null.
    fn array(&self, rows: &[Option<&T>]) -> ArrayRef {
        let rows = rows.iter();
        match self.1 {
            Value::Number(read) => {
                Arc::new(rows.map(|row| row.map(|event| read(event) as i64)).collect::<Int64Array>())
            }
            Value::Time(read) => {
                Arc::new(rows.map(|row| row.map(|event| nanos(read(event)))).collect::<TimestampNanosecondArray>())
            }
            Value::Text(read) => Arc::new(rows.map(|row| row.map(read)).collect::<StringArray>()),
        }
    }
}

fn nanos(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI)
}

fn fields<T>(columns: &[Column<T>], nullable: bool) -> Fields {
    columns.iter().map(|column| column.field(nullable)).collect()
}

/// Returns all columns of a table.
pub(super) fn schema(table: Table) -> SchemaRef {
    let fields = match table {
        Table::Person => fields(&PERSON, false),
        Table::Auction => fields(&AUCTION, false),
        Table::Bid => fields(&BID, false),
        Table::Events => {
            let kinds = [fields(&PERSON, true), fields(&AUCTION, true), fields(&BID, true)];
            let kinds = kinds.into_iter().map(DataType::Struct);
            let types = [DataType::Int32].into_iter().chain(kinds).chain([TIMESTAMP]);
            let field = |(name, data_type)| {
                let nullable = matches!(data_type, DataType::Struct(_));
                Field::new(name, data_type, nullable)
            };
            EVENTS.into_iter().zip(types).map(field).collect()
        }
    };
    Arc::new(Schema::new(fields))
}

fn person(event: &Event) -> Option<&Person> {
    if let Event::Person(person) = event { Some(person) } else { None }
}

fn auction(event: &Event) -> Option<&Auction> {
    if let Event::Auction(auction) = event { Some(auction) } else { None }
}

fn bid(event: &Event) -> Option<&Bid> {
    if let Event::Bid(bid) = event { Some(bid) } else { None }
}

/// Builds some of a table's columns, given by their places in its schema.
pub(super) fn arrays(table: Table, columns: &[usize], events: &[Event]) -> Result<Vec<ArrayRef>> {
    match table {
        Table::Person => Ok(of_kind(&PERSON, columns, &events.iter().map(person).collect::<Vec<_>>())),
        Table::Auction => Ok(of_kind(&AUCTION, columns, &events.iter().map(auction).collect::<Vec<_>>())),
        Table::Bid => Ok(of_kind(&BID, columns, &events.iter().map(bid).collect::<Vec<_>>())),
        Table::Events => columns.iter().map(|column| of_all(EVENTS[*column], events)).collect(),
    }
}

fn of_kind<T>(all: &[Column<T>], columns: &[usize], rows: &[Option<&T>]) -> Vec<ArrayRef> {
    columns.iter().map(|column| all[*column].array(rows)).collect()
}

fn of_all(column: &str, events: &[Event]) -> Result<ArrayRef> {
    let events = events.iter();
    match column {
        "person" => structs(&PERSON, &events.map(person).collect::<Vec<_>>()),
        "auction" => structs(&AUCTION, &events.map(auction).collect::<Vec<_>>()),
        "bid" => structs(&BID, &events.map(bid).collect::<Vec<_>>()),
        "date_time" => {
            Ok(Arc::new(TimestampNanosecondArray::from_iter_values(events.map(|event| nanos(event.timestamp())))))
        }
        _ => Ok(Arc::new(Int32Array::from_iter_values(events.map(|event| event.event_type() as i32)))),
    }
}

fn structs<T>(columns: &[Column<T>], rows: &[Option<&T>]) -> Result<ArrayRef> {
    let children = columns.iter().map(|column| column.array(rows)).collect();
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    Ok(Arc::new(StructArray::try_new(fields(columns, true), children, Some(nulls))?))
}
