//! Importing files: what the command line, the demo and the API have in common.

use crate::data_folder::DataFolder;
use crate::wiring::Log;
use async_trait::async_trait;
use headwater_api::{ImportRequest, ImportSummary, Imports};
use headwater_core::{Clock, Error, Result};
use headwater_importers::{FileLedger, Import, ImportContext, Kind, Mapping, RatingScale, Summary, detect};
use sha2::{Digest, Sha256};
use std::io::{Cursor, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What an import may be told beside its file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The kind by name, or `auto`.
    pub(crate) kind: String,
    pub(crate) file_name: String,
    /// A uuid, or a name from which one is derived.
    pub(crate) company: String,
    pub(crate) company_name: Option<String>,
    pub(crate) rating_scale: Option<String>,
}

/// Imports into the inbox of a data folder, or to the event bus. One import runs at a time: two of the same file would both find it new.
pub(crate) struct ImportService {
    log: Log,
    ledger: Mutex<FileLedger>,
    namespace: Uuid,
    clock: Arc<dyn Clock>,
    mappings: Option<PathBuf>,
}

impl ImportService {
    pub(crate) fn open(data: &DataFolder, log: Log, clock: Arc<dyn Clock>, mappings: Option<PathBuf>) -> Result<Self> {
        let ledger = Mutex::new(FileLedger::open(data.imports())?);
        Ok(Self { log, ledger, namespace: data.namespace()?, clock, mappings })
    }

    /// Returns the company's id: the uuid that was given, or one derived from its name, the same for all imports here.
    fn company(&self, told: &Told) -> Result<(Uuid, Option<String>)> {
        let company = told.company.trim();
        if company.is_empty() {
            return Err(Error::invalid("the company is missing").with_help("name it by uuid, or by its name"));
        }
        Ok(match Uuid::parse_str(company) {
            Ok(id) => (id, told.company_name.clone()),
            Err(_) => {
                let derived = format!("company:{}", company.to_lowercase());
                let name = told.company_name.clone().unwrap_or_else(|| company.to_owned());
                (Uuid::new_v5(&self.namespace, derived.as_bytes()), Some(name))
            }
        })
    }

    /// Imports a file.
    pub(crate) fn import(
        &self,
        told: &Told,
        mut reader: impl Read + Seek,
        errors: Option<&mut Vec<u8>>,
    ) -> Result<(Kind, Summary)> {
        let kind = match told.kind.as_str() {
            "auto" => detect(&told.file_name, &mut reader)?,
            name => Kind::from_name(name)?,
        };
        let mapping = Mapping::load(kind, self.mappings.as_deref())?;
        let (company_id, company_name) = self.company(told)?;
        let context = ImportContext {
            file_name: told.file_name.clone(),
            company_id,
            company_name,
            namespace: self.namespace,
            now: self.clock.now(),
            rating_scale: told.rating_scale.as_deref().map(RatingScale::from_name).transpose()?,
            start_row: 0,
        };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = self.log.clone();
        let errors = errors.map(|errors| errors as &mut dyn Write);
        let import = Import { kind, mapping: &mapping, context: &context, log: &mut log, ledger: &mut *ledger, errors };
        Ok((kind, import.run(reader)?))
    }
}

/// The import service as the API sees it.
pub(crate) struct ApiImports(pub(crate) Arc<ImportService>);

#[async_trait]
impl Imports for ApiImports {
    fn kinds(&self) -> Vec<String> {
        Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect()
    }

    async fn import(&self, request: ImportRequest) -> Result<ImportSummary> {
        let service = self.0.clone();
        crate::blocking(move || {
            let told = Told {
                file_name: request.file_name.unwrap_or_else(|| format!("{}.csv", request.kind)),
                kind: request.kind,
                company: request.company.unwrap_or_default(),
                company_name: request.company_name,
                rating_scale: request.rating_scale,
            };
            let mut errors = Vec::new();
            let file_hash = Sha256::digest(&request.content).iter().map(|byte| format!("{byte:02x}")).collect();
            let (_, summary) = service.import(&told, Cursor::new(request.content), Some(&mut errors))?;
            let error_csv = if summary.rejected + summary.partial > 0 { errors } else { Vec::new() };
            Ok(ImportSummary {
                rows: summary.total,
                accepted: summary.success,
                rejected: summary.rejected,
                skipped: summary.skipped,
                partial: summary.partial,
                events: summary.events,
                codes: summary.codes,
                notes: summary.notes,
                ignored_columns: summary.ignored_columns,
                file_hash,
                already_imported: summary.already_imported,
                error_csv: String::from_utf8_lossy(&error_csv).into_owned(),
            })
        })
        .await
    }
}
