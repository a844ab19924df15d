"""Sigma to SQL: conditions of rules as expressions of DuckDB over the view `events`. A backend of pySigma.

    AuditBackend(build_pipeline({})).convert_rule(rule)      # one expression a condition

Every expression is true or false, never null, so that NOT means what it says of an event that lacks the field.

- Texts are compared without regard to case (`lower` of DuckDB, character by character), with `cased` exactly.
- A field with several values holds if one of them does.
- A number is a number: `4444` matches the text "4444" as well, by value (64-bit floating point), and no other text.
- Regular expressions are RE2's: linear in time. They are searched for anywhere, with regard to case.
- A keyword is looked for in the event's name and in its arguments as JSON.

What cannot be expressed raises `Refused`, with the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaCasedString,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from pythonaudit.detect import fields
from pythonaudit.detect.fields import Field, find_field
from pythonaudit.detect.sql import SHARED, TRUE, Refused, join, network_pattern, number_of, quote

_MULTI, _SINGLE = SpecialChars.WILDCARD_MULTI, SpecialChars.WILDCARD_SINGLE
_OPERATORS = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "<>",
}
_OF_ONE = {"<": "list_min", "<=": "list_min", ">": "list_max", ">=": "list_max"}
_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_INT64 = 1 << 63
_TEXT = "\x02"  # stands for a text that is put in later; no literal has it
# What costs more than comparing columns, the cheapest first: taken out of JSON, or computed in Python for a few events;
# computed in Python for every event.
_DEAR = (
    r"\bjson_\w+\(|->>|\bin_network\(|\bresolve_path\(",
    r"\b(?:child_\w+|stack_frames)\(",
    r"\bevent_fields\(",
)
_PYTHON = re.compile("|".join(_DEAR[1:]))

Leaf = Any
"""A field and a value, or a keyword; of which type the value is, pySigma has looked at."""

Test = Callable[[str], str]
"""An expression of a text to one of truth; null counts as false."""


class AuditBackend(Backend):
    """Expressions over the view `events`."""

    name: ClassVar[str] = "pythonaudit"
    formats: ClassVar[dict[str, str]] = {"default": "conditions of DuckDB over the view `events`"}

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> str:
        """One of several. What is asked of one field is asked of each of its values once."""
        parts: list[str] = []
        texts: dict[str, list[SigmaString]] = {}
        for part in cond.args:
            if isinstance(part, ConditionFieldEqualsValueExpression) and isinstance(part.value, SigmaString):
                texts.setdefault(part.field, []).append(self._text(part.value, part.field))
            else:
                parts.append(self.convert_condition(part, state))
        parts += (holds(self._field(field), _any_test(values)) for field, values in texts.items())
        return join("OR", parts)

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> str:
        """All of several; what is dear is asked of events alone of which the rest holds (AND asks everything)."""
        parts = [self.convert_condition(part, state) for part in _flatten(cond)]
        cheap = [part for part in parts if not _cost(part)]
        steps = [*([join("AND", cheap)] if cheap else ()), *sorted(filter(_cost, parts), key=_cost)]
        found = str(steps[0])
        for part in steps[1:]:
            found = f"CASE WHEN {found} THEN {part} ELSE false END"
        return found

    def find_implied(self, condition: Any) -> str:
        """What follows from a condition and is computed without Python."""
        sql = str(self.convert_condition(condition, ConversionState()))
        if not _PYTHON.search(sql):
            return sql
        if isinstance(condition, ConditionAND | ConditionOR):
            parts = list(map(self.find_implied, condition.args))
            if isinstance(condition, ConditionAND):
                return join("AND", [part for part in parts if part != TRUE] or [TRUE])
            return TRUE if TRUE in parts else join("OR", parts)
        return TRUE

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        """The contrary."""
        (part,) = self._parts(cond, state)
        return f"(NOT {part})"

    def _parts(self, cond: ConditionItem, state: ConversionState) -> list[str]:
        return [self.convert_condition(part, state) for part in cond.args]

    def convert_condition_field_eq_val_str(self, cond: Leaf, state: ConversionState) -> str:
        """A text, in any case."""
        return self._holds(cond, text_test(self._text(cond.value, cond.field), is_cased=False))

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: Leaf, state: ConversionState) -> str:
        """A text, exactly."""
        return self._holds(cond, text_test(self._text(cond.value, cond.field), is_cased=True))

    def convert_condition_field_eq_val_num(self, cond: Leaf, state: ConversionState) -> str:
        """A number."""
        return self._compare(cond, "=", cond.value.number)

    def convert_condition_field_eq_val_timestamp_part(self, cond: Leaf, state: ConversionState) -> str:
        """A part of a moment."""
        return self._compare_part(cond, "=", cond.value)

    def convert_condition_field_compare_op_val(self, cond: Leaf, state: ConversionState) -> str:
        """More or less than a number."""
        operator = _OPERATORS[cond.value.op]
        if isinstance(cond.value.number, SigmaTimestampPart):
            return self._compare_part(cond, operator, cond.value.number)
        return self._compare(cond, operator, cond.value.number.number)

    def convert_condition_field_eq_val_bool(self, cond: Leaf, state: ConversionState) -> str:
        """True or false, as JSON has it."""
        wanted = quote("true" if cond.value.boolean else "false")
        return self._holds(cond, lambda text: f"lower({text}) = {wanted}")

    def convert_condition_field_eq_val_re(self, cond: Leaf, state: ConversionState) -> str:
        """A regular expression."""
        return self._holds(cond, self._expression_test(cond.value, cond.field))

    def convert_condition_field_eq_val_cidr(self, cond: Leaf, state: ConversionState) -> str:
        """A network."""
        network = quote(str(cond.value.network))
        pattern = network_pattern(cond.value.network)
        other = f"regexp_matches({{}}, {quote(pattern)})" if pattern else "false"
        return self._holds(
            cond,
            lambda text: (
                f"CASE WHEN contains({text}, ':') THEN in_network({text}, {network}) ELSE {other.format(text)} END"
            ),
        )

    def convert_condition_field_eq_field(self, cond: Leaf, state: ConversionState) -> str:
        """Another field of the same event."""
        reference = cond.value
        other = self._field(reference.field)

        def compare(text: str, also: str) -> str:
            left, right = f"lower({text})", f"lower({also})"
            if reference.starts_with and reference.ends_with:
                return f"contains({left}, {right})"
            if reference.starts_with:
                return f"starts_with({left}, {right})"
            return f"ends_with({left}, {right})" if reference.ends_with else f"{left} = {right}"

        # Null is no text, so a list of one null is no hit; each of both may have many.
        ours, theirs = _as_list(self._field(cond.field)), _as_list(other)
        inner = f"list_contains([{compare('one', 'two')} for two in {theirs}], true)"
        return f"coalesce(list_contains([{inner} for one in {ours}], true), false)"

    def convert_condition_field_eq_val_null(self, cond: Leaf, state: ConversionState) -> str:
        """Nothing: the field is not there, or is null."""
        return f"(NOT {self.convert_condition_field_exists(cond, state)})"

    def convert_condition_field_exists(self, cond: Leaf, state: ConversionState) -> str:
        """Anything."""
        return self._holds(cond, lambda text: f"{text} IS NOT NULL")

    def convert_condition_field_not_exists(self, cond: Leaf, state: ConversionState) -> str:
        """Nothing."""
        return self.convert_condition_field_eq_val_null(cond, state)

    def convert_condition_val_str(self, cond: Leaf, state: ConversionState) -> str:
        """A keyword."""
        value = self._text(cond.value, None)
        around: list[Any] = [_MULTI, *value.s, _MULTI]
        is_cased = isinstance(value, SigmaCasedString)
        tests = []
        for column in fields.SEARCHED:
            some = SigmaString()
            escaped = (
                _escape_json(part) if column != "event" and isinstance(part, str) else part for part in around
            )
            some.s = list(escaped)
            tests.append(f"coalesce({text_test(some, is_cased)(column)}, false)")
        return join("OR", tests)

    def convert_condition_val_num(self, cond: Leaf, state: ConversionState) -> str:
        """A number as a keyword: its digits."""
        return self.convert_condition_val_str(
            ConditionValueExpression(SigmaString.from_str(str(cond.value.number))), state
        )

    def convert_condition_val_re(self, cond: Leaf, state: ConversionState) -> str:
        """A regular expression as a keyword."""
        test = self._expression_test(cond.value, None)
        return join("OR", [f"coalesce({test(column)}, false)" for column in fields.SEARCHED])

    def convert_condition_as_in_expression(self, cond: Any, state: ConversionState) -> str:
        """Not asked for: `join` does the same."""
        raise Refused("lists are converted one by one")

    def convert_condition_field_eq_query_expr(self, cond: Any, state: ConversionState) -> str:
        """SQL from a pipeline: nothing of ours makes any."""
        raise Refused("pieces of a query are not taken from rules", cond.field)

    def convert_condition_query_expr(self, cond: Any, state: ConversionState) -> str:
        """The same without a field."""
        raise Refused("pieces of a query are not taken from rules")

    def _correlate(self, rule: Any, output_format: str | None = None, method: str = "default") -> list[str]:
        raise Refused("correlations are of matches, not of one event: correlate.py")

    convert_correlation_event_count_rule = _correlate
    convert_correlation_value_count_rule = _correlate
    convert_correlation_temporal_rule = _correlate
    convert_correlation_temporal_ordered_rule = _correlate
    convert_correlation_extended_temporal_rule = _correlate
    convert_correlation_extended_temporal_ordered_rule = _correlate
    convert_correlation_value_sum_rule = _correlate
    convert_correlation_value_avg_rule = _correlate
    convert_correlation_value_percentile_rule = _correlate
    convert_correlation_value_median_rule = _correlate

    def _field(self, name: str) -> Field:
        found = find_field(name)
        if found is None:
            raise Refused(f"{name!r} is no field of this log source", name)
        return found

    def _text(self, value: SigmaString, field: str | None) -> SigmaString:
        for part in value.s:
            if isinstance(part, Placeholder):
                raise Refused(f"%{part.name}% has no value in placeholders.yml", field)
            if isinstance(part, str) and not _is_utf8(part):
                raise Refused("half of a pair of surrogates is no text", field)
        return value

    def _holds(self, cond: Leaf, test: Test) -> str:
        """That a test holds of one of a field's values."""
        return holds(self._field(cond.field), test)

    def _compare(self, cond: Leaf, operator: str, number: float) -> str:
        field = self._field(cond.field)
        if field.kind == fields.MOMENT:
            raise Refused("a moment is compared by its parts: time|hour, time|day, …", cond.field)
        is_exact = isinstance(number, int) and abs(number) < _INT64
        if field.kind == fields.NUMBER:
            return (
                f"coalesce({field.sql} {operator} {number if is_exact else f'{float(number)!r}::DOUBLE'}, false)"
            )
        wanted = f"{float(number)!r}::DOUBLE"
        if field.kind != fields.TEXTS:
            return self._holds(cond, lambda text: f"{number_of(text)} {operator} {wanted}")
        # The numbers are found once for all rules; one of them is more than another if the largest is.
        numbers = f"[{number_of('one')} for one in {field.sql}]"
        if operator in _OF_ONE:
            return f"coalesce({SHARED}{_OF_ONE[operator]}({numbers}){SHARED} {operator} {wanted}, false)"
        return (
            f"coalesce(list_contains([one {operator} {wanted} for one in {SHARED}{numbers}{SHARED}], true), false)"
        )

    def _compare_part(self, cond: Leaf, operator: str, part: SigmaTimestampPart) -> str:
        if self._field(cond.field).kind != fields.MOMENT:
            raise Refused("only 'time' is a moment that has parts", cond.field)
        unit = quote(part.timestamp_part.name.lower())
        return f"(date_part({unit}, time AT TIME ZONE 'UTC') {operator} {part.number})"

    def _expression_test(self, value: SigmaRegularExpression, field: str | None) -> Test:
        for part in value.regexp.s:
            if isinstance(part, Placeholder):
                raise Refused(f"%{part.name}% has no value in placeholders.yml", field)
        if not _is_utf8(value.regexp.to_plain_regex()):
            raise Refused("half of a pair of surrogates is no text", field)
        expression = quote(expression_of(value))
        return lambda text: f"regexp_matches({text}, {expression})"


def expression_of(value: SigmaRegularExpression) -> str:
    """A regular expression as RE2 has it, with its flags."""
    on = "".join(sorted(_FLAGS[flag] for flag in value.flags))
    off = "".join(sorted(set(_FLAGS.values()) - set(on)))
    return (f"(?{on}-{off})" if off else f"(?{on})") + value.regexp.to_plain_regex()


def holds(field: Field, test: Test) -> str:
    """That a test holds of one of a field's values."""
    if field.kind == fields.TEXTS:
        values = f"{SHARED}{field.sql}{SHARED}" if field.is_shared else field.sql
        return f"coalesce(list_contains([{test('one')} for one in {values}], true), false)"
    text = field.sql if field.kind == fields.TEXT else f"({field.sql})::VARCHAR"
    found = test(_TEXT)
    if field.is_shared:
        found = found.replace(f"lower({_TEXT})", f"{SHARED}lower({text}){SHARED}")
    return f"coalesce({found.replace(_TEXT, text)}, false)"


def text_test(value: SigmaString, is_cased: bool) -> Test:
    """That a text is a value with wildcards."""
    parts: list[Any] = []
    for part in value.s:
        if part != _MULTI or parts[-1:] != [_MULTI]:
            parts.append(part)
    if parts == [_MULTI]:
        return lambda text: f"{text} IS NOT NULL"
    begins_open, ends_open = parts[:1] == [_MULTI], parts[-1:] == [_MULTI]
    inner = parts[begins_open : len(parts) - ends_open]
    if any(part in (_MULTI, _SINGLE) for part in inner):
        return _like_test(parts, is_cased)
    wanted = quote("".join(inner), is_cased)

    def test(text: str) -> str:
        text = text if is_cased else f"lower({text})"
        if begins_open and ends_open:
            return f"contains({text}, {wanted})"
        if begins_open:
            return f"ends_with({text}, {wanted})"
        return f"starts_with({text}, {wanted})" if ends_open else f"{text} = {wanted}"

    return test


def _any_test(values: Sequence[SigmaString]) -> Test:
    """That a text is one of several values; those without wildcards are looked up together."""
    tests: list[Test] = []
    for is_cased in (False, True):
        some = [value for value in values if isinstance(value, SigmaCasedString) == is_cased]
        plain = [value for value in some if all(isinstance(part, str) for part in value.s)]
        if len(plain) > 1:
            tests.append(_among_test(["".join(map(str, value.s)) for value in plain], is_cased))
            some = [value for value in some if value not in plain]
        tests += (text_test(value, is_cased) for value in some)
    return lambda text: join("OR", [test(text) for test in tests])


def _among_test(texts: Sequence[str], is_cased: bool) -> Test:
    wanted = ", ".join(quote(text, is_cased) for text in texts)
    return lambda text: f"{text if is_cased else f'lower({text})'} IN ({wanted})"


def _like_test(parts: Sequence[Any], is_cased: bool) -> Test:
    wildcards = {_MULTI: "%", _SINGLE: "_"}
    pattern = "".join(
        wildcards[part]
        if isinstance(part, SpecialChars)
        else part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        for part in parts
    )
    wanted = quote(pattern, is_cased)
    return lambda text: f"{text if is_cased else f'lower({text})'} LIKE {wanted} ESCAPE '\\'"


def _flatten(condition: ConditionAND) -> Iterator[Any]:
    """The parts of a condition, those of its parts that are of its kind as well."""
    for part in condition.args:
        yield from _flatten(part) if isinstance(part, ConditionAND) else [part]


def _cost(sql: str) -> int:
    """How dear an expression is, from 0."""
    return max((cost for cost, dear in enumerate(_DEAR, 1) if re.search(dear, sql)), default=0)


def _as_list(field: Field) -> str:
    return field.sql if field.kind == fields.TEXTS else f"[({field.sql})::VARCHAR]"


def _escape_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
