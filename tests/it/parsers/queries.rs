//! Random queries: by the grammar, by tearing those apart, and by throwing dice.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;

const NAMES: &[&str] = &[
    "up",
    "secret",
    "a:b:c",
    "http_requests_total",
    "sum",
    "by",
    "offset",
    "start",
    "or",
    "fill",
    "nanny",
    "_",
];
const LABELS: &[&str] = &[
    "namespace",
    "pod",
    "or",
    "by",
    "le",
    "NAMESPACE",
    "cluster",
    "\"namespace\"",
    "'namespace'",
    "\"name space\"",
    "\"namespace\\\"\"",
    "\"nаmespace\"",
    "\"a} or b{c\"",
];
/// What somebody would try who wants out.
const HOSTILE: &[&str] = &[
    "",
    "shop",
    "other",
    ".*",
    ".+",
    "}",
    "\"} or secret{a=\"b",
    "'} or secret{a='b",
    "`} or secret{a=`b",
    "\\",
    "\\\"",
    "\\\\\"} or secret{",
    "\n",
    "\r\n# ",
    "# } or secret",
    "\t",
    "\u{7}",
    "\u{0}",
    "\u{fffd}",
    "\u{202e}",
    "é{}",
    "namespace=\"shop\"",
];
/// Regular expressions that make sense.
const EXPRESSIONS: &[&str] = &[
    "",
    ".*",
    ".+",
    "a|b",
    "/api/.*[0-9]{2,3}$",
    r"\d+\.\w",
    "shop",
];
/// Pieces that are spliced into queries.
const SPLINTERS: &[&str] = &[
    "}",
    "{",
    "\"",
    "'",
    "`",
    "\\",
    "#",
    "\n",
    ",",
    " or ",
    "or",
    "(",
    ")",
    "[5m]",
    "[5m:1m]",
    "[",
    "]",
    ":",
    "} or secret{a=\"b",
    ") or (secret",
    " or secret",
    " or secret # ",
    "\r",
    "\u{a0}",
    "é",
    "\u{0}",
    "$pods",
    "$x",
    "@",
    "offset",
    "-",
    "=~",
    "=",
    "!",
    "by (namespace)",
    "info(up)",
    "1e999",
    "NaN",
    "namespace=\"shop\"",
    "__name__",
    "fill(1)",
];

/// A string in one of the three kinds of quotes.
pub(super) fn quoted(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, 0..3_usize).prop_map(|(text, style)| match style {
        0 => format!("\"{}\"", escaped(&text, '"')),
        1 => format!("'{}'", escaped(&text, '\'')),
        _ => format!("`{}`", text.replace('`', "")),
    })
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str(r"\\"),
            '\n' => escaped.push_str(r"\n"),
            letter if letter == quote => escaped.extend(['\\', quote]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(HOSTILE).prop_map(str::to_owned),
        1 => string_regex(".{0,12}").expect("an expression"),
    ]
}

fn matcher() -> impl Strategy<Value = String> {
    let label = || {
        // A label of this name is refused; splinters bring it in.
        let labels: Vec<&str> = LABELS
            .iter()
            .copied()
            .filter(|name| *name != "or")
            .collect();
        select(labels)
    };
    let equal = (label(), select(vec!["=", "!=", " = "]), quoted(text()));
    let expression = prop_oneof![
        9 => select(EXPRESSIONS).prop_map(str::to_owned),
        1 => text(),
    ];
    let matching = (label(), select(vec!["=~", "!~"]), quoted(expression));
    prop_oneof![
        4 => equal.prop_map(|(label, operator, value)| format!("{label}{operator}{value}")),
        4 => matching.prop_map(|(label, operator, value)| format!("{label}{operator}{value}")),
        1 => Just("pod=~\"$pods\"".to_owned()),
    ]
}

fn braces() -> impl Strategy<Value = String> {
    let group = prop::collection::vec(matcher(), 1..4).prop_map(|matchers| matchers.join(","));
    let groups = prop::collection::vec(group, 1..4);
    (groups, any::<bool>()).prop_map(|(groups, comma)| {
        let comma = if comma { " , " } else { "" };
        format!("{{{}{comma}}}", groups.join(" or "))
    })
}

/// Braces that select by themselves.
fn nameless() -> impl Strategy<Value = String> {
    let name = select(vec![
        r#"__name__=~".+""#,
        r#""odd metric""#,
        r#"__name__="up""#,
    ]);
    (name, braces()).prop_map(|(name, braces)| braces.replacen('{', &format!("{{{name},"), 1))
}

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => select(NAMES).prop_map(str::to_owned),
        3 => (select(NAMES), braces()).prop_map(|(name, braces)| format!("{name}{braces}")),
        1 => nameless(),
    ]
}

fn time() -> impl Strategy<Value = String> {
    let times = [
        "",
        "",
        "",
        " offset 5m",
        " offset -1h30m",
        " @ 1700000000.5",
        " @ start()",
        " @ end() offset 1d",
        " # a comment }\n",
    ];
    select(times.to_vec()).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = String> {
    let plain: Vec<&str> = LABELS.to_vec();
    prop::collection::vec(select(plain), 1..3).prop_map(|labels| labels.join(", "))
}

/// A query that gives an instant vector.
pub(super) fn query() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        4 => (selector(), time()).prop_map(|(selector, time)| format!("{selector}{time}")),
        3 => (selector(), time())
            .prop_map(|(selector, time)| format!("rate({selector}[5m]{time})")),
        1 => selector().prop_map(|selector| format!("absent_over_time({selector}[90s])")),
        1 => selector().prop_map(|selector| format!("absent({selector})")),
        1 => Just("vector(time())".to_owned()),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let operators = [
            "+", "-", "*", "/", "%", "^", "==", "!=", "> bool", "<=", "atan2", "and", "OR",
            "unless", "or",
        ];
        let aggregations = ["sum", "max", "COUNT", "group", "stddev"];
        prop_oneof![
            3 => (inner.clone(), select(operators.to_vec()), inner.clone())
                .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            1 => (inner.clone(), labels(), inner.clone()).prop_map(|(left, labels, right)| {
                format!("({left}) * on ({labels}) group_left () ({right})")
            }),
            2 => (select(aggregations.to_vec()), labels(), inner.clone())
                .prop_map(|(operator, labels, inner)| format!("{operator} by ({labels}) ({inner})")),
            1 => (select(aggregations.to_vec()), labels(), inner.clone()).prop_map(
                |(operator, labels, inner)| format!("{operator}({inner}) without({labels})")
            ),
            2 => (inner.clone(), inner.clone())
                .prop_map(|(parameter, inner)| format!("topk(scalar({parameter}), {inner})")),
            1 => (quoted(text()), inner.clone())
                .prop_map(|(label, inner)| format!("count_values({label}, {inner})")),
            2 => (inner.clone(), time())
                .prop_map(|(inner, time)| format!("max_over_time(({inner})[1h:5m]{time})")),
            1 => (inner.clone(), quoted(text())).prop_map(|(inner, text)| {
                format!("label_replace({inner}, \"a\", {text}, \"b\", \"(.*)\")")
            }),
            1 => (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("clamp_max({left}, scalar(-{right}))")),
            1 => inner.clone().prop_map(|inner| format!("-({inner})")),
            1 => inner.prop_map(|inner| format!("( # (\n{inner})")),
        ]
    })
    .boxed()
}

/// A query with splinters in it, or with pieces torn out.
pub(super) fn torn() -> impl Strategy<Value = String> {
    let splinters = prop::collection::vec((any::<prop::sample::Index>(), select(SPLINTERS)), 1..4);
    (query(), splinters, any::<bool>()).prop_map(|(query, splinters, overwrite)| {
        let mut letters: Vec<char> = query.chars().collect();
        for (place, splinter) in splinters {
            let start = place.index(letters.len() + 1);
            let length = if overwrite { splinter.len() } else { 0 };
            let end = (start + length).min(letters.len());
            letters.splice(start..end, splinter.chars());
        }
        letters.into_iter().collect()
    })
}

/// Pieces of queries in any order.
pub(super) fn rubble() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => select(SPLINTERS).prop_map(str::to_owned),
        2 => select(NAMES).prop_map(str::to_owned),
        1 => select(LABELS).prop_map(str::to_owned),
        1 => quoted(text()),
        1 => string_regex(".{0,4}").expect("an expression"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}
