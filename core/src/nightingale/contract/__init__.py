"""The wire: operations, schemas, error codes. Imports nothing else of Nightingale."""
