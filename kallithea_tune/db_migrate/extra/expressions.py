"""Conditions of checks, and defaults, as long as every engine understands them alike.

What is not certain to mean the same is refused: texts are compared for equality only, since their
order depends on collations, and columns only with values of their own kind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Mapping, NamedTuple, Optional, Sequence, Union

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines.base.definitions import NotPortable

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.sql.elements import ClauseElement

    from kallithea_tune.db_migrate.engines.base import Writer

_STRING = r"'(?:[^']|'')*'"
_ESCAPING = r"(?:_utf8mb4)?'(?:[^'\\]|''|\\.)*'"  # of MariaDB
_TOKENS = (
    r"\s+|(?P<text>{})"
    r"""|(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]0-9'][^\]']*\])"""
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d][\w$]*)"
    r"|(?P<sign>::|<=|>=|<>|!=|==|[-+=<>(),\[\].])|(?P<other>.)"
)
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?", re.ASCII)
OPERATORS = {
    "=": "=",
    "==": "=",
    "<>": "<>",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
# SQLite's length() and MariaDB's char_length() count characters; MariaDB's length() counts bytes.
LENGTHS = {"sqlite": {"length"}, "postgresql": {"length", "char_length", "character_length"}}
CHARACTERS = {"char_length", "character_length"}
NUMBERS = (Kind.integer, Kind.number, Kind.decimal)
NOW = {"current_timestamp", "now", "localtimestamp"}
TODAY = {"current_date", "curdate"}
FORMS: Mapping[Kind, str] = {
    Kind.moment: r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    Kind.date: r"\d{4}-\d\d-\d\d",
    Kind.time: r"\d\d:\d\d:\d\d",
}


class Token(NamedTuple):
    """A token, with the name of its group in the pattern."""

    kind: Optional[str]
    text: str

    @property
    def word(self) -> str:
        """The token as a keyword, empty where it is none."""
        return self.text.upper() if self.kind == "word" else ""


class Term(NamedTuple):
    """Part of an expression; `kind` is None for a condition."""

    kind: Optional[Kind]
    clause: ClauseElement
    value: object = None
    is_literal: bool = False


def tokens(sql: str, dialect: str) -> list[Token]:
    """Divide SQL into tokens. Raises NotPortable for what belongs to none."""
    pattern = _TOKENS.replace("{}", _ESCAPING if dialect == "mysql" else _STRING)
    matches = re.finditer(pattern, sql, re.DOTALL)
    found = [Token(match.lastgroup, match[0]) for match in matches if match.lastgroup]
    if any(token.kind == "other" for token in found):
        raise NotPortable(shown(sql))
    return found


def shown(sql: str) -> str:
    """Return SQL as part of a sentence."""
    return "it is " + " ".join(sql.split())


def condition(
    sql: str, columns: Mapping[str, Column], dialect: str, writer: Writer
) -> ClauseElement:
    """Read the condition of a check, and write it as the target of `writer` has it.

    Raises NotPortable where its meaning may be another one.
    """
    parser = _Parser(sql, columns, dialect, writer)
    term = parser.disjunction()
    parser.end()
    return parser.as_condition(term)


def default(
    sql: str, kind: Kind, dialect: str, writer: Writer
) -> Optional[Union[str, ClauseElement]]:
    """Read a default, and write it as the target of `writer` has it; None for NULL.

    Raises NotPortable for what is neither a constant nor the moment or the day.
    """
    import sqlalchemy

    found = [token for token in tokens(sql, dialect) if token.text not in "()"]
    if [token.word for token in found] == ["NULL"]:
        return None
    if "::" in [token.text for token in found]:
        found = found[: [token.text for token in found].index("::")]
    function = found[0].text.lower() if found and found[0].kind == "word" else ""
    if function in NOW | TODAY:
        if len(found) > 2 or len(found) == 2 and found[1].kind != "number":
            raise NotPortable(shown(sql))
        if function in NOW and kind in (Kind.moment, Kind.instant):
            return sqlalchemy.text(writer.current_moment)
        if function in TODAY and kind is Kind.date:
            return sqlalchemy.text(writer.current_day)
        raise NotPortable(shown(sql))
    text = "".join(_constant(token, dialect) for token in found)
    is_text = len(found) == 1 and found[0].kind in ("text", "name")
    if kind is Kind.text and is_text:
        return text
    if kind in FORMS and is_text and re.fullmatch(FORMS[kind], text, re.ASCII):
        return text
    if kind is Kind.boolean and text.lower() in ("0", "1", "true", "false", "t", "f"):
        return sqlalchemy.true() if text.lower() in ("1", "true", "t") else sqlalchemy.false()
    if (
        kind in NUMBERS
        and _NUMBER.fullmatch(text)
        and (kind is not Kind.integer or "." not in text)
    ):
        return sqlalchemy.text(text)
    raise NotPortable(shown(sql))


def _constant(token: Token, dialect: str) -> str:
    if token.kind == "text":
        return text_of(token.text, dialect)
    # SQLite takes an unknown name for a text.
    if token.kind == "name" and dialect == "sqlite":
        return token.text[1:-1].replace('""', '"')
    return token.text


class _Parser:
    """Reads one expression, from the left to the right."""

    def __init__(
        self, sql: str, columns: Mapping[str, Column], dialect: str, writer: Writer
    ) -> None:
        self._sql, self._dialect, self._writer = sql, dialect, writer
        self._columns = {name.lower(): column for name, column in columns.items()}
        self._tokens, self._place = tokens(sql, dialect), 0

    def refused(self) -> NotPortable:
        return NotPortable(shown(self._sql))

    def _next(self) -> Token:
        if self._place == len(self._tokens):
            raise self.refused()
        self._place += 1
        return self._tokens[self._place - 1]

    def _accept(self, *texts: str) -> bool:
        """Skip these keywords or signs if they come next."""
        there = self._tokens[self._place : self._place + len(texts)]
        found = [token.word or (token.text if token.kind == "sign" else "") for token in there]
        if found != list(texts):
            return False
        self._place += len(texts)
        return True

    def _require(self, text: str) -> None:
        if not self._accept(text):
            raise self.refused()

    def end(self) -> None:
        if self._place != len(self._tokens):
            raise self.refused()

    def as_condition(self, term: Term) -> ClauseElement:
        if term.kind is not None:
            raise self.refused()
        return term.clause

    def disjunction(self) -> Term:
        from sqlalchemy import or_

        terms = [self._conjunction()]
        while self._accept("OR"):
            terms.append(self._conjunction())
        return terms[0] if len(terms) == 1 else Term(None, or_(*map(self.as_condition, terms)))

    def _conjunction(self) -> Term:
        from sqlalchemy import and_

        terms = [self._negation()]
        while self._accept("AND"):
            terms.append(self._negation())
        return terms[0] if len(terms) == 1 else Term(None, and_(*map(self.as_condition, terms)))

    def _negation(self) -> Term:
        from sqlalchemy import not_

        if self._accept("NOT"):
            return Term(None, not_(self.as_condition(self._negation())))
        return self._predicate()

    def _predicate(self) -> Term:
        left = self._operand()
        if left.kind is None:
            return left
        if self._accept("IS", "NULL"):
            return Term(None, left.clause.is_(None))
        if self._accept("IS", "NOT", "NULL"):
            return Term(None, left.clause.isnot(None))
        for negated in (("NOT",), ()):
            if self._accept(*negated, "IN"):
                self._require("(")
                return self._among(left, self._list(")"), bool(negated))
            if self._accept(*negated, "BETWEEN"):
                return self._between(left, bool(negated))
        if self._place == len(self._tokens) or self._tokens[self._place].text not in OPERATORS:
            return left
        operator = self._next().text
        for quantifier, sign in (("ANY", "="), ("ALL", "<>")):
            # As PostgreSQL writes IN and NOT IN.
            if operator == sign and self._accept(quantifier, "("):
                return self._among(left, self._array(), sign == "<>")
        return self._comparison(left, OPERATORS[operator], self._operand())

    def _comparison(self, left: Term, operator: str, right: Term) -> Term:
        if left.is_literal and not right.is_literal:
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
            return self._comparison(right, mirrored.get(operator, operator), left)
        right = self._like(left, right)
        if operator not in ("=", "<>") and left.kind not in (*NUMBERS, Kind.date):
            raise self.refused()
        python = {"=": "__eq__", "<>": "__ne__", "<": "__lt__", "<=": "__le__"}
        python.update({">": "__gt__", ">=": "__ge__"})
        return Term(None, getattr(left.clause, python[operator])(right.clause))

    def _among(self, left: Term, items: Sequence[Term], negated: bool) -> Term:
        if not all(item.is_literal for item in items):
            raise self.refused()
        clauses = [self._like(left, item).clause for item in items]
        return Term(None, left.clause.notin_(clauses) if negated else left.clause.in_(clauses))

    def _between(self, left: Term, negated: bool) -> Term:
        from sqlalchemy import not_

        low = self._operand()
        self._require("AND")
        high = self._operand()
        if left.kind not in (*NUMBERS, Kind.date):
            raise self.refused()
        between = left.clause.between(self._like(left, low).clause, self._like(left, high).clause)
        return Term(None, not_(between) if negated else between)

    def _like(self, left: Term, right: Term) -> Term:
        """Return the right side of a comparison, of the kind of the left one."""
        if left.kind in NUMBERS and right.kind in NUMBERS or left.kind is right.kind is Kind.text:
            return right
        if left.kind is right.kind and not left.is_literal:
            return right
        if left.kind is Kind.boolean and right.is_literal and right.value in (0, 1):
            return _literal(Kind.boolean, bool(right.value))
        is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", str(right.value), re.ASCII)
        if left.kind is Kind.date and right.is_literal and right.kind is Kind.text and is_date:
            return right
        raise self.refused()

    def _list(self, closing: str) -> list[Term]:
        items = [self._operand()]
        while self._accept(","):
            items.append(self._operand())
        self._require(closing)
        return items

    def _array(self) -> list[Term]:
        brackets = 1
        while self._accept("("):
            brackets += 1
        if not self._accept("ARRAY", "["):
            raise self.refused()
        items = self._list("]")
        for _ in range(brackets):
            self._skip_cast(Kind.text)
            self._require(")")
        return items

    def _skip_cast(self, kind: Optional[Kind]) -> None:
        """Skip a cast that PostgreSQL adds where it changes nothing."""
        while self._accept("::"):
            words = []
            while self._place < len(self._tokens) and self._tokens[self._place].kind == "word":
                if self._tokens[self._place].word in ("AND", "OR", "IS", "NOT", "IN", "BETWEEN"):
                    break
                words.append(self._next().text.lower())
            self._accept("[", "]")
            name = " ".join(words)
            is_of_text = kind is Kind.text and name in (
                "text",
                "character varying",
                "bpchar",
                "date",
            )
            is_of_number = kind in NUMBERS and name in ("numeric", "double precision", "bigint")
            if not (is_of_text or is_of_number or kind is Kind.integer and name == "integer"):
                raise self.refused()

    def _accept_number_cast(self, text: str) -> bool:
        is_number = _NUMBER.fullmatch(text.strip("'"))
        casts = ("INTEGER", "BIGINT", "SMALLINT", "NUMERIC")
        return bool(is_number) and any(self._accept("::", name) for name in casts)

    def _operand(self) -> Term:
        term = self._primary()
        self._skip_cast(term.kind)
        return term

    def _primary(self) -> Term:
        if self._accept("("):
            term = self.disjunction()
            self._require(")")
            return term
        token = self._next()
        if token.kind == "sign" and token.text in "-+":
            number = self._next()
            if number.kind != "number":
                raise self.refused()
            return _number(token.text + number.text)
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "text" and self._accept_number_cast(token.text):
            # As PostgreSQL writes negative numbers.
            return _number(token.text.strip("'"))
        if token.kind == "text":
            return _literal(Kind.text, text_of(token.text, self._dialect))
        if token.word in ("TRUE", "FALSE"):
            return _literal(Kind.boolean, token.word == "TRUE")
        if token.kind == "word" and self._accept("("):
            return self._length(token.text.lower())
        return self._column(token)

    def _length(self, function: str) -> Term:
        from sqlalchemy import func

        argument = self._operand()
        self._require(")")
        counts = LENGTHS.get(self._dialect, CHARACTERS)
        if function not in counts or argument.kind is not Kind.text or argument.is_literal:
            raise self.refused()
        return Term(Kind.integer, getattr(func, self._writer.character_count)(argument.clause))

    def _column(self, token: Token) -> Term:
        name = token.text
        if token.kind == "name":
            name = name[1:-1].replace(name[-1] * 2, name[-1])
        column = self._columns.get(name.lower())
        if column is None or token.kind not in ("name", "word"):
            raise self.refused()
        return Term(kind_of(column), column)


def text_of(token: str, dialect: str) -> str:
    """Return the text of a literal. Raises NotPortable for escapes of special characters."""
    text = token.partition("'")[2][:-1]
    if dialect == "mysql" and re.search(r"\\[^'\"\\]", text.replace("\\\\", "")):
        raise NotPortable(shown(token))
    text = text.replace("''", "'")
    return re.sub(r"\\(.)", r"\1", text) if dialect == "mysql" else text


def _number(text: str) -> Term:
    from sqlalchemy import literal_column

    kind = Kind.decimal if "." in text else Kind.integer
    value: object = float(text) if "." in text else int(text)
    return Term(kind, literal_column(text), value, is_literal=True)


def _literal(kind: Kind, value: object) -> Term:
    import sqlalchemy
    from sqlalchemy import types

    if kind is Kind.boolean:
        return Term(kind, sqlalchemy.true() if value else sqlalchemy.false(), value, True)
    return Term(kind, sqlalchemy.literal(value, types.String()), value, is_literal=True)
