"""The ground floor: what the programs share. Imports no program, no dagster and no pandas."""
