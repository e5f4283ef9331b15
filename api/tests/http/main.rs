//! The HTTP interface as a client meets it: the router with stand-ins for what the binary provides, over a temporary
//! reporting store made by the pipelines' own migration. No sockets, no sleeps, a clock that stands still.

mod dead_letters;
mod ingest;
mod reads;
mod surface;
mod world;
