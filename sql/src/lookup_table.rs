//! A table that is asked by key instead of being read: what its declaration says about that. It never opens the system
//! behind it.

use crate::position::WithPlace;
use crate::table::{Role, Table};
use headwater_core::{AsyncSettings, Error, LookupSpec, Result};
use std::sync::Arc;

/// A lookup as declared, and how the engine is to ask.
pub(crate) struct Looker {
    pub(crate) spec: Arc<dyn LookupSpec>,
    pub(crate) settings: AsyncSettings,
}

impl Table {
    /// Whether reading the table means to look rows up by key.
    pub(crate) fn is_lookup(&self) -> bool {
        match self.role {
            Some(Role::Lookup) => true,
            Some(Role::Source | Role::Sink) => false,
            None => self.connector.only_looks_up(),
        }
    }

    /// Returns what looking up takes; the first call asks the connector.
    pub(crate) fn looker(&self) -> Result<&Looker> {
        if let Some(looker) = self.looker.get() {
            return Ok(looker);
        }
        let looker = self.make_looker()?;
        Ok(self.looker.get_or_init(|| looker))
    }

    fn make_looker(&self) -> Result<Looker> {
        let options = &self.definition.options;
        let refuse = |what: &str| {
            let error = Error::invalid(format!("the lookup table '{}' has no {what}", self.name));
            Err(error.with_help("leave it out: rows are looked up as they are now").with_place(self.place.start()))
        };
        if self.contract.is_some() {
            return refuse("contract");
        }
        if self.has_event_time() {
            return refuse("event time");
        }
        if self.declared.as_ref().is_some_and(|declared| !declared.is_plain()) {
            return refuse("generated, defaulted or METADATA columns");
        }
        let spec = self.connector.lookup(&self.definition).map_err(|e| self.placed(e))?;
        let settings = settings(self).map_err(|e| self.placed(e))?;
        self.check_options(options)?;
        Ok(Looker { spec, settings })
    }
}

fn settings(table: &Table) -> Result<AsyncSettings> {
    let options = &table.definition.options;
    let default = AsyncSettings::default();
    let order = options.one_of("lookup.order", "ordered", &["ordered", "unordered"])?;
    let settings = AsyncSettings {
        ordered: order == "ordered",
        in_flight_max: options.parse("lookup.in_flight_max", "a whole number")?.unwrap_or(default.in_flight_max),
        request_rows_max: options
            .parse("lookup.request_rows_max", "a whole number")?
            .unwrap_or(default.request_rows_max),
        timeout: options.duration("lookup.timeout")?.unwrap_or(default.timeout),
        tries: options.parse("lookup.tries", "a whole number")?.unwrap_or(default.tries),
    };
    settings.check().map_err(|error| Error::invalid(format!("the option lookup.{}", error.message())))?;
    Ok(settings)
}
