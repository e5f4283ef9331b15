//! The one integration binary (one link): what holds for the whole project rather than for one package.

mod faults;
mod readme;
mod support;
mod tidy;
