"""What a published table is: columns with bounds, a key, rules across columns, and how rows are checked against them.

Not here: the tables themselves (schemas.py, pattern_schemas.py).
pandera and dagster are imported where they are used, so that `copytrader sql` pays for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd

# Exact sums in the lake: a sum of u64 amounts, in lamports too, fits no integer type.
# Checks compute on a narrower type: a difference of 38-digit decimals has no Arrow type.
AMOUNT: Final = pa.decimal128(38, 0)
_CHECKED_AMOUNT: Final = pa.decimal128(28, 0)
_SHOWN_KEYS = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A column: Arrow type, whether it may be NULL, its meaning, and the bounds or values it must keep to.

    `finite`: whether a real number must be one; for reading only, an absurd one must not stop a day. `repeats`: values
    come again within a few ten thousand rows, so that a file's dictionary of them pays.
    """

    name: str
    type: pa.DataType
    about: str
    nullable: bool = True
    ge: float | None = None
    le: float | None = None
    isin: tuple[str, ...] | None = None
    finite: bool = True
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule across columns: `holds` gives one boolean a row; NULL counts as kept."""

    name: str
    holds: Callable[[pd.DataFrame], pd.Series]


def share(name: str, about: str, *, nullable: bool = True) -> Column:
    """A column of shares or probabilities, 0 to 1."""
    return Column(name, pa.float64(), about, nullable=nullable, ge=0, le=1)


def count(name: str, about: str, *, nullable: bool = True) -> Column:
    """A column of counts."""
    return Column(name, pa.int32(), about, nullable=nullable, ge=0)


def floating(name: str, about: str, *, ge: float | None = None, le: float | None = None) -> Column:
    """A column of real numbers."""
    return Column(name, pa.float64(), about, ge=ge, le=le)


def milliseconds(name: str, about: str) -> Column:
    """A column of durations in whole milliseconds."""
    return Column(name, pa.int64(), about, ge=0)


def ordered(*names: str) -> Rule:
    """The rule that the columns do not fall from one to the next, where both are known."""

    def holds(frame: pd.DataFrame) -> pd.Series:
        kept = frame[names[0]].isna() | True
        for lower, upper in pairwise(names):
            kept &= (frame[lower] <= frame[upper]).fillna(True)
        return kept

    return Rule(" <= ".join(names), holds)


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule, how many rows break it, and the keys of the first of them."""

    rule: str
    rows: int
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.rows} row(s), first: {'; '.join(self.keys)}"


@dataclass(frozen=True, slots=True)
class Table:
    """A published table. `key` is unique; `columns` are in lake order."""

    name: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def arrow(self) -> pa.Schema:
        """The schema of the lake's files."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def names(self) -> list[str]:
        """The column names in order."""
        return [c.name for c in self.columns]

    @property
    def repeating(self) -> list[str]:
        """The columns for which a dictionary pays."""
        return [c.name for c in self.columns if c.repeats]

    def metadata(self) -> dg.TableSchema:
        """The column metadata that Dagster's UI shows."""
        import dagster as dg

        return dg.TableSchema(
            columns=[
                dg.TableColumn(
                    c.name,
                    str(c.type),
                    c.about,
                    dg.TableColumnConstraints(nullable=c.nullable, other=_bounds(c)),
                )
                for c in self.columns
            ],
            constraints=dg.TableConstraints(other=[f"unique ({', '.join(self.key)})", *(r.name for r in self.rules)]),
        )

    def conform(self, table: pa.Table) -> pa.Table:
        """`table` with exactly these columns, types and order, without metadata. Raises pa.ArrowInvalid."""
        if missing := set(self.names) - set(table.column_names):
            raise pa.ArrowInvalid(f"{self.name} lacks the columns {sorted(missing)}")
        loose = pa.schema([field.with_nullable(True) for field in self.arrow])
        return table.select(self.names).replace_schema_metadata(None).cast(loose).combine_chunks()

    def violations(self, table: pa.Table) -> tuple[Violation, ...]:
        """Every broken rule of the rows: screened in Arrow, named by pandera. `table` must conform."""
        import pandas as pd

        from copytrader_assets.screening import is_clean

        checkable = _checkable(table)
        frame = checkable.to_pandas(types_mapper=pd.ArrowDtype)
        return () if is_clean(self, checkable, frame) else self._named_violations(frame)

    def _named_violations(self, frame: pd.DataFrame) -> tuple[Violation, ...]:
        import pandera.errors

        try:
            self._pandera().validate(frame, lazy=True)
        except pandera.errors.SchemaErrors as errors:
            return _violations(errors.failure_cases, frame, self.key)
        return ()

    def _pandera(self) -> Any:
        import pandera.pandas as pa_pandas

        columns = {c.name: pa_pandas.Column(None, _checks(c), nullable=c.nullable) for c in self.columns}
        rules = [pa_pandas.Check(_kept(r.holds), name=r.name, error=r.name) for r in self.rules]
        return pa_pandas.DataFrameSchema(columns, checks=rules, unique=list(self.key), strict=True, ordered=True)


def _kept(holds: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda frame: holds(frame).fillna(True).astype(bool)


def _checks(column: Column) -> list[Any]:
    import pandera.pandas as pa_pandas

    checks = []
    if pa.types.is_floating(column.type) and column.finite:
        checks.append(pa_pandas.Check(_is_finite, error=f"{column.name} is finite"))
    if column.ge is not None:
        checks.append(pa_pandas.Check.ge(column.ge, error=f"{column.name} >= {column.ge}"))
    if column.le is not None:
        checks.append(pa_pandas.Check.le(column.le, error=f"{column.name} <= {column.le}"))
    if column.isin is not None:
        checks.append(pa_pandas.Check.isin(column.isin, error=f"{column.name} is one of {', '.join(column.isin)}"))
    return checks


def _is_finite(values: pd.Series) -> pd.Series:
    """NaN and infinity are no numbers; unknown is NULL, which pandera leaves out."""
    return values.abs() < float("inf")


def _bounds(column: Column) -> list[str]:
    lower = [f">= {column.ge}"] if column.ge is not None else []
    upper = [f"<= {column.le}"] if column.le is not None else []
    return [*lower, *upper, *([" | ".join(column.isin)] if column.isin else [])]


def _checkable(table: pa.Table) -> pa.Table:
    narrow = [f.with_type(_CHECKED_AMOUNT) if f.type == AMOUNT else f for f in table.schema]
    return table.cast(pa.schema(narrow))


def _violations(cases: pd.DataFrame, frame: pd.DataFrame, key: tuple[str, ...]) -> tuple[Violation, ...]:
    found, keyed = [], frame[list(key)]
    for (column, check), group in cases.groupby(["column", "check"], dropna=False, sort=False):
        rows = group["index"].dropna().astype("int64").drop_duplicates()
        name = "unique " + "+".join(key) if "unique" in str(check) else str(check)
        if name == "not_nullable":
            name = f"{column} is not NULL"
        shown = keyed.take(rows.iloc[:_SHOWN_KEYS].to_numpy())
        keys = tuple("/".join(map(str, values)) for values in shown.itertuples(index=False, name=None))
        found.append(Violation(name, len(rows), keys))
    return tuple({v.rule: v for v in found}.values())
