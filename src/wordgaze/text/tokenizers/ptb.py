"""The tokenizer of captions: Penn Treebank words in lower case, without punctuation.

The vocabulary, the references and the captions to be scored are tokenized alike, as in the COCO caption evaluation
(Chen et al. 2015, section 3.1). Its tokenizer is the Stanford PTBTokenizer (CoreNLP 3.4.1), a Java lexer; this module
is a table of rules that gives the same words without Java. Contractions and possessives are split (``dog's`` →
``dog 's``, ``isn't`` → ``is n't``), hyphenated words stay whole, and the punctuation marks of the protocol are dropped.

At each position every rule is tried; the longest match wins, and of equally long matches that of the first rule.
The words differ from those of the Java lexer on purpose:
- text is normalised to NFC and soft hyphens are removed, so that a word is the same however it was typed;
- each caption is tokenized alone: the Java lexer reads on into the next line (``no.`` at an end before ``5 dogs``), and
  a line break inside a caption shifts all captions after it;
- letters and digits added to Unicode after 2010 are kept: Java drops them; both drop pictograms;
- a token that contains a blank (``1 1/2``, ``<a b>``) is several words, as the metrics of the toolkit split it.
Known differences that remain: thin spaces next to addresses, and single initials before markup (``D. <b>``).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wordgaze.text.tokenizers.base import WordSpan

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""The marks that the COCO protocol drops. Brackets stay, as ``-lrb-`` and ``-rrb-``, which its list has in capitals."""

# Rules are matched against the shape of a text, a string of the same length with one character for each kind:
# é for any letter beyond ASCII, ˇ for a mark on a letter, ٠ for any digit beyond ASCII, ² and ₂ for raised and lowered
# digits, ‘ ’ “ ” — for the quotation marks and dashes like these, NUL for what is dropped. ASCII characters and other
# symbols stand for themselves.
_MARKS = (
    "\u02c2-\u02c5\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u036f\u0375\u0378\u0379\u0384\u0385\u03f6\u0483-\u0487"
    "\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06e4"
    "\u06e7-\u06ed\u06fd\u06fe\u070f\u0711\u0730-\u074c\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c\u093e-\u094e"
    "\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09c4\u09c7\u09c8\u09cb-\u09cd\u09d7\u09e2\u09e3"
    "\u0a01-\u0a03\u0a3c\u0a3e-\u0a4f\u0a81-\u0a83\u0abc\u0abe-\u0acf\u0b82\u0bbe-\u0bc2\u0bc6-\u0bc8\u0bca-\u0bcd"
    "\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d44\u0d46-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    "\u0ec8-\u0ecd\u1885\u1886"
)
_SYMBOLS = (
    "¡-©«¬®-´¶-¹»-¿×÷\u037e\u0387\u0589\u058a\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u0603\u0606-\u060c\u0614\u061b"
    "\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d\u07f6-\u07f8\u0964\u0965\u0e3f\u0e4f\u1fbd‐‑–-‣…‰-※‾-⁂⁄⁰⁴-⁾₀-₎₠₤€"
    "℀℁℃-℆℈℉℔№-℘℞-℣℥℧℩℮℺℻⅀-⅄⅊-⅍⅏⅓-⅞←-⯿、。〒・！-／：-＠［-｀｛-･￠￡￥￦\x80\x91-\x94\x96\x97"
)
_KINDS = [
    (re.compile(f"[{signs}]"), shape)
    for signs, shape in {
        r"\s": " ",
        r"\U00010000-\U0010ffff": "\0",
        "\x92": "’",
        "\x91‛": "‘",
        "\x93": "“",
        "\x94": "”",
        "–―\x96\x97": "—",
        "⁰¹²³⁴-⁹": "²",
        "₀-₉": "₂",
        _MARKS: "ˇ",
        r"\d": "٠",
    }.items()
]
_SYMBOL = re.compile(f"[{_SYMBOLS}]")


class _Shapes(dict[int, str]):
    """The shape of each character by its code point, computed at the first use."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        shape = next((shape for signs, shape in _KINDS if signs.match(char)), None)
        if shape is None:
            kept = " " < char < "\x7f" or _SYMBOL.match(char)
            shape = char if kept else "é" if char.isalpha() else "\0"
        self[code] = shape
        return shape


_SHAPES = _Shapes({code: chr(code) for code in range(0x21, 0x7F)})

_LETTER = "[A-Za-zé]"
_ALNUM = "[A-Za-zé0-9٠]"
_DIGIT = "[0-9٠]"
_QUOTE = "(?:['’]|&apos;)"
_ANY_QUOTE = "(?:['’`‘]|&apos;)"
_AND = "(?:&(?:amp;)?)"
_WORD_PART = "[A-Za-zéˇ][A-Za-zéˇ0-9٠]*"
_WORD = rf"{_WORD_PART}(?:[.!?]{_WORD_PART})*"
_ENDING = rf"{_QUOTE}(?:[smdSMD]|[rR][eE]|[vV][eE]|[lL][lL])"
_NOT = rf"[nN]{_ANY_QUOTE}[tT]"
_FILE_TYPE = (
    "bat|bmp|class|cgi|cpp|c|dll|docx?|exe|gif|gz|html?|h|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|"
    "wav|xml|x|zip"
)
_COMPOUND_PART = rf"(?:[dDoOlL]{_ANY_QUOTE}{_ALNUM})?{_ALNUM}+"
_COMPOUND = rf"{_COMPOUND_PART}(?:[-_‐‑֊]{_COMPOUND_PART})*"
_LOOSE_COMPOUND = r"[A-Za-z0-9][A-Za-z0-9.,]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9]+))+"
_INITIALS = r"[A-Z]+(?:[+&][A-Z]+|&amp;[A-Z]+)+"
_SLASHED = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
# Abbreviations that often end a sentence: the stop belongs to them even if a word follows without a blank.
_FINAL = (
    "al|apr|ariz|assn|aug|bancorp|bhd|blvd|bros|calif|colo|conn|corp|cos?|ct|dak|dec|esq|est|etc|ext|feb|fla|fri|ga|inc|"
    "ind|intl|jan|jr|jul|jun|kans?|ky|ltd|mar|md|mich|minn|mo|mon|mont|neb|nev|nov|oct|okla|penn|plc|rd|sept?|seq|sq|"
    "sr|sys|tel|tenn|thurs|thu|tues?|univ|va|vt|wed|wisc?|wyo|ed\\.d|ph\\.d"
)
_STATES = "Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash"
_TITLES = (
    "[a-z]|adj|adm|adv|alex|assoc|asst|attys?|ave|bldg|brig|capt|cf|cie|cmdr|col|comdr|cpl|dept|det|drs?|elec|ens|ft|"
    "gen|gov|govs|hon|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mrs?|msgr|ms|mt|natl|pfc|ph|pres|profs?|pvt|reps?|rev|"
    "rt|sen|sens|sfc|sgt|spc|ste?|supts?|vs|wm"
)

_Rewrite = Callable[[str], str]


def _drop(_: str) -> str:
    return ""


def _with_brackets(token: str) -> str:
    return token.replace("(", "-lrb-").replace(")", "-rrb-")


def _with_ampersand(token: str) -> str:
    return token.replace("&amp;", "&")


def _with_quotes(token: str) -> str:
    return token.replace("&apos;", "'").translate(_PLAIN_QUOTES)


_PLAIN_QUOTES = str.maketrans(
    {**dict.fromkeys("‘‛\x91‹", "`"), **dict.fromkeys("’\x92›", "'"), "“": "``", "«": "``", "\x93": "``"}
    | dict.fromkeys("”»\x94", "''")
)
_SIGNS = {
    **{"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"},
    **{"£": "#", "¢": "cents", "€": "$", "¤": "$", "₠": "$", "\x80": "$", '"': ""},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
    **{"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "", "&nbsp;": ""},
}


def _sign(token: str) -> str:
    return _SIGNS.get(token, token)


# (pattern, rewrite): `str` keeps the token as it is. A pattern with a group takes only the group, and what follows in
# the pattern must follow in the text.
_TABLE: list[tuple[str, _Rewrite]] = [
    # Words, and words before an ending
    (r"(?i:(can)not|(gon)na|(got)ta|(lem)me|(gim)me|(wan)na)", str),
    (rf"({_WORD}){_ENDING}", str),  # dog 's
    (rf"([A-Za-z]*[A-MO-Za-mo-z]){_NOT}", str),  # is n't
    (_WORD, str),  # dog, hello!there
    (r"[Cc]\+\+|[CcFf]#", str),
    # Words with an apostrophe
    (rf"(?i:{_QUOTE}n{_QUOTE}?|[ldj]{_QUOTE}|dunkin{_QUOTE}|somethin{_QUOTE}|ol{_QUOTE})", str),  # rock 'n' roll
    (rf"(?i:{_QUOTE}(?:em|till?|cause|[2-9]0s)|c{_QUOTE}mon|[eo]{_QUOTE}er|o{_QUOTE}clock|ev{_QUOTE}ry)", str),
    (rf"(?i:nor{_QUOTE}easter|li{_QUOTE}l|nat{_QUOTE}l|s{_QUOTE}mores|o{_ANY_QUOTE}o)", str),
    (rf"[A-HJ-XZn]{_ANY_QUOTE}{_LETTER}{{2,}}", str),  # O'Neil
    (rf"{_LETTER}+[aeiouyAEIOUY]{_ANY_QUOTE}[aeiouA-Z]{_LETTER}*", str),  # Hawai'i
    (rf"({_QUOTE}t)(?i:is|was)", str),
    (rf"(?i:(y{_QUOTE}){_LETTER})", str),  # y' all
    (rf"({_QUOTE}[0-9][0-9])\s", str),  # the '90 but the ' 90,
    # Web addresses, e-mail addresses, file names, hashtags
    (r"https?://[^\s\"<>|(){}]+[^\s\"<>|.!?(){},-]", str),
    (
        r"(?:www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}|(?:[^\s\"`'<>|!(){},-_$]+\.)+(?:com|net|org|edu))"
        r"(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?",
        str,
    ),
    (r"(?:<|&lt;)?[a-zA-Z0-9][^\s\"<>|(){}]*@(?:[^\s\"<>|(){}.]+\.)*[^\s\"<>|(){}.]+(?:>|&gt;)?", str),
    (rf"({_ALNUM}+(?:\.{_ALNUM}+)*\.(?i:{_FILE_TYPE}))(?=[\s.?!,])", str),
    (r"@[A-Za-z_][A-Za-z_0-9]*|#[A-Za-zéˇ]+", str),
    # Endings
    (rf"({_ENDING})[^A-Za-z]", _with_quotes),
    (_NOT, _with_quotes),
    (r"(')[A-Za-z]\S", _drop),  # an opening quotation mark
    (_ENDING, _with_quotes),
    # Numbers
    (rf"{_DIGIT}{{1,2}}[-/]{_DIGIT}{{1,2}}[-/]{_DIGIT}{{2,4}}", str),  # 10/10/2010
    (rf"[-+]?(?:{_DIGIT}*(?:[.:,]{_DIGIT}+)+|{_DIGIT}+)", str),  # 1,000 5:30 -.5
    ("[⁺⁻₊₋]?(?:²+|₂+)", str),
    (rf"(?:{_DIGIT}{{1,4}}[- ])?{_DIGIT}{{1,4}}(?:\\?/|⁄){_DIGIT}{{1,4}}", str),  # 3/4, 1 1/2
    (r"\([0-9]{2,3}\) ?[0-9]{3,4}[- ]?[0-9]{3,5}", _with_brackets),  # (555) 123-4567
    (r"(?:\+\+?)?(?:[0-9]{2,4}[- ])?[0-9]{2,4}[- ][0-9]{3,4}[- ]?[0-9]{3,5}", str),
    (r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}", str),
    (r"[A-Z]*\$|#", str),  # US$ 5
    # Abbreviations keep their stop
    (rf"((?i:{_FINAL})\.)[\s\S]{{2}}", str),
    (rf"((?:{_STATES}|{_STATES.upper()})\.)[\s\S]{{2}}", str),
    (r"([Pp]p?t[ey]s?\.)[\s\S]{2}|[Mm][ft]g\.", str),
    (rf"(?i:{_TITLES})\.", str),  # mr.
    (r"[A-Za-z](?:\.[A-Za-z])+\.|(?i:canada|sino|korean|eu|japan|non)-(?i:u\.s)\.", str),  # p.m.
    (rf"((?i:ca|op|pp|art|figs?|nos?|prop)\.)\s?{_DIGIT}", str),  # no. 5
    *((rf"({whole}\.)[,;:、]", _with_ampersand) for whole in (_WORD, _COMPOUND, _LOOSE_COMPOUND, _INITIALS)),  # abc.,
    # Compounds
    (rf"{_SLASHED}(?:\\?/{_SLASHED}){{1,2}}", str),  # his/her
    (rf"(?i:-[rl][rcs]b-|c\.d\.s|pro-|anti-|s{_AND}(?:p-500|ls)|cap{_QUOTE}n|c{_QUOTE}est)", _with_ampersand),
    (_LOOSE_COMPOUND, str),  # 3.5-inch
    (_COMPOUND, str),  # t-shirt 3rd a_b
    (_INITIALS, _with_ampersand),  # AT&T
    # Marks
    (
        r"<(?:[!?][A-Za-z-][^>\n]*|/[A-Za-z][A-Za-z0-9:.-]*|[A-Za-z][A-Za-z0-9:.-]*"
        r"(?: +(?:[A-Za-z][A-Za-z0-9:.-]*(?: *= *(?:'[^'\n]*'|\"[^\"\n]*\"))?))* */?) *>",
        str,
    ),
    (r"<[A-Za-z][A-Za-z0-9_.-]* *>", str),
    ("&(?:MD|mdash|ndash|quot|nbsp|apos);|—", _drop),
    ("&(?:lt|gt|amp);", _sign),
    ("&(?:HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);", str),
    (r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])(?![A-Za-z0-9])", _with_brackets),  # :-)
    (r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)", _with_brackets),  # ^_^
    (r"\.{3,5}|(?:\. ){2,4}\.|…|-+", _drop),
    (r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+|<<|>>", str),
    ("''|[`‘’‹›“”«»‚„‟]{1,2}", _with_quotes),
    (r"[^\0\s‐‑֊]", _sign),
]
_RULES = [(re.compile(pattern), rewrite) for pattern, rewrite in _TABLE]

_ACROSS_BLANKS = re.compile(r"<|\.\s[.\d]|[\d)]\s\d")
"""Texts in which a token may contain a blank, or may depend on what follows a blank."""


def tokenize(text: str) -> list[str]:
    """The words of a caption, in lower case and without punctuation; an empty list for an empty caption."""
    text = unicodedata.normalize("NFC", text).replace("\xad", "")
    if _ACROSS_BLANKS.search(text):
        return list(_tokens(text))
    return [token for chunk in text.split() for token in _tokens_of_chunk(chunk)]


def _tokens(text: str) -> tuple[str, ...]:
    shape = text.translate(_SHAPES) + "\n\n"  # two line ends, because some rules read two characters ahead
    tokens: list[str] = []
    start = 0
    while start < len(text):
        end, rewrite = _longest_match(shape, start)
        tokens += rewrite(text[start:end]).lower().split()
        start = end
    return tuple(token for token in tokens if token not in PUNCTUATION)


def _longest_match(shape: str, start: int) -> tuple[int, _Rewrite]:
    """The end and the rewrite of the token that begins at ``start``; one dropped character if no rule matches."""
    longest, end = start, start + 1
    rewrite: _Rewrite = _drop
    for pattern, rule in _RULES:
        match = pattern.match(shape, start)
        if match and match.end() > longest:
            longest, end, rewrite = match.end(), match.end(match.lastindex or 0), rule
    return end, rewrite


_tokens_of_chunk = lru_cache(maxsize=1 << 16)(_tokens)


@dataclass(frozen=True)
class PtbTokenizer:
    """This module as a :class:`~wordgaze.text.tokenizers.base.Tokenizer`: English words."""

    name = "ptb"
    is_english = True
    has_words = True

    @property
    def scoring(self) -> "PtbTokenizer":
        """The tokenizer itself."""
        return self

    def tokenize(self, text: str) -> list[str]:
        """As the function of this name."""
        return tokenize(text)

    def join(self, tokens: Sequence[str]) -> str:
        """The words with blanks between them."""
        return " ".join(tokens)

    def spans(self, tokens: Sequence[str]) -> list[WordSpan]:
        """Every token is a word."""
        return [WordSpan(token, 1) for token in tokens]

    def tokens_of(self, words: Sequence[str]) -> list[str]:
        """The words themselves."""
        return list(words)

    def files(self) -> dict[str, bytes]:
        """None: the rules are in this module."""
        return {}
