//! Event contracts: JSON Schema files compiled to Arrow schemas, validators and documents.
