//! The one integration binary (one link): what holds for the whole project rather than for one package.

mod demo;
mod faults;
mod impact_sql;
mod readme;
mod sql_files;
mod serve;
mod support;
mod tidy;
