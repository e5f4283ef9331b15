//! The one integration binary (one link): what holds for the whole project rather than for one package.

mod tidy;
