use super::*;

/// A namespace, and one label of the source that sorts before it and one after it.
fn shop() -> Confinement {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Confinement {
        namespace: Some(label("namespace", "shop")),
        labels: BTreeMap::new(),
    }
}

#[track_caller]
fn check_confined(query: &str, expected: &str) {
    let result = confined(query, &shop());
    assert_eq!(result.as_deref(), Ok(expected), "{query}");
}

#[track_caller]
fn check_refused(query: &str, expected: &str) {
    let problem = confined(query, &shop()).expect_err(query).to_string();
    assert!(problem.contains(expected), "{query}: {problem}");
}

#[test]
fn every_selector_is_narrowed() {
    for (query, expected) in [
        ("up", r#"up{namespace="shop"}"#),
        ("rate(x[5m])", r#"rate(x{namespace="shop"}[5m])"#),
        (
            "max_over_time(rate(x[1m])[1h:5m])",
            r#"max_over_time(rate(x{namespace="shop"}[1m])[1h:5m])"#,
        ),
        ("absent(x)", r#"absent(x{namespace="shop"})"#),
        (
            "absent_over_time(x[5m])",
            r#"absent_over_time(x{namespace="shop"}[5m])"#,
        ),
        (
            "(a + b) / -c",
            r#"(a{namespace="shop"} + b{namespace="shop"}) / -c{namespace="shop"}"#,
        ),
        (
            "a unless on (pod) b",
            r#"a{namespace="shop"} unless on (pod) b{namespace="shop"}"#,
        ),
        (
            "a @ start() offset 5m",
            r#"a{namespace="shop"} @ start() offset 5m"#,
        ),
        // The visitor of the parser's crate passes over the parameter of an aggregation.
        (
            "topk(scalar(secret), x)",
            r#"topk(scalar(secret{namespace="shop"}), x{namespace="shop"})"#,
        ),
        (
            r#"count_values("v", a)"#,
            r#"count_values("v", a{namespace="shop"})"#,
        ),
        (
            r#"{a="1" or b="2"}"#,
            r#"{a="1", namespace="shop" or b="2", namespace="shop"}"#,
        ),
        (
            r#"x{a="1" or namespace="shop" or b="2"}"#,
            r#"x{a="1", namespace="shop" or namespace="shop" or b="2", namespace="shop"}"#,
        ),
    ] {
        check_confined(query, expected);
    }
}

/// The matchers of a selector must all hold, so those of the user need not be understood.
#[test]
fn own_matchers_on_the_forced_label_only_narrow() {
    for (query, expected) in [
        (
            r#"x{namespace=~".*"}"#,
            r#"x{namespace="shop",namespace=~".*"}"#,
        ),
        (
            r#"x{namespace!=""}"#,
            r#"x{namespace!="",namespace="shop"}"#,
        ),
        (r#"x{namespace=""}"#, r#"x{namespace="",namespace="shop"}"#),
        (
            r#"x{namespace="other",namespace!~"shop"}"#,
            r#"x{namespace!~"shop",namespace="other",namespace="shop"}"#,
        ),
        (
            r#"{"namespace"="other", "odd name"="1", __name__=~".+"}"#,
            r#"{"odd name"="1",__name__=~".+",namespace="other",namespace="shop"}"#,
        ),
        (r#"x{namespace="shop"}"#, r#"x{namespace="shop"}"#),
        (
            r#"{"odd metric"}"#,
            r#"{__name__="odd metric",namespace="shop"}"#,
        ),
    ] {
        check_confined(query, expected);
    }
}

#[test]
fn the_text_that_is_sent_is_not_the_text_that_was_written() {
    for (query, expected) in [
        (
            "a # } or b{\n + b",
            r#"a{namespace="shop"} + b{namespace="shop"}"#,
        ),
        (
            r#"sum by ("a) or secret{x=\"y\"} or sum by (b") (x)"#,
            r#"sum by ("a) or secret{x=\"y\"} or sum by (b") (x{namespace="shop"})"#,
        ),
        (
            r#"x{a='"} or secret{b="'}"#,
            r#"x{a="\"} or secret{b=\"",namespace="shop"}"#,
        ),
        (r#"x{a=~`\d+"\.`}"#, r#"x{a=~"\\d+\"\\.",namespace="shop"}"#),
        (
            r#"label_replace(x, "a", "$1", "b", "(.*)")"#,
            r#"label_replace(x{namespace="shop"}, "a", "$1", "b", "(.*)")"#,
        ),
    ] {
        check_confined(query, expected);
    }
}

#[test]
fn labels_of_the_source_are_forced_too() {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let two = Confinement {
        labels: BTreeMap::from([label("cluster", r#"a"b\"#), label("zone", "")]),
        ..shop()
    };
    let expected = r#"sum(x{cluster="a\"b\\",namespace="shop",zone=""})"#;
    assert_eq!(confined("sum(x)", &two).as_deref(), Ok(expected));
    let alone = Confinement {
        namespace: None,
        ..two
    };
    let expected = r#"sum(x{cluster="a\"b\\",zone=""})"#;
    assert_eq!(confined("sum(x)", &alone).as_deref(), Ok(expected));
}

#[test]
fn what_cannot_be_forced_is_refused() {
    for (label, value) in [
        ("namespace", ""),
        ("", "shop"),
        ("name space", "shop"),
        ("1st", "shop"),
        ("a\"", "shop"),
        ("__name__", "shop"),
        ("or", "shop"),
        ("namespace", "$pods"),
    ] {
        let confinement = Confinement {
            namespace: Some((label.to_owned(), value.to_owned())),
            labels: BTreeMap::new(),
        };
        let problem = confined("up", &confinement).expect_err("no label to force");
        assert!(matches!(problem, Problem::NotForceable { .. }), "{problem}");
    }
}

/// `info()` reads `target_info` with no selector in sight.
#[test]
fn functions_that_read_by_themselves_are_for_the_unconfined() {
    check_refused("info(up)", "calls info()");
    check_refused(r#"sum(rate(x[5m])) + info(up, {a="b"})"#, "calls info()");
    assert_eq!(check("info(up)"), Ok(()));
}

#[test]
fn what_is_no_instant_vector_is_refused() {
    check_refused("x[5m]", "gives a range vector");
    check_refused("x[5m:1m]", "gives a range vector");
    check_refused(r#""up""#, "gives a string");
    check_refused("rate(x)", "expected type");
    check_refused("sum(x[5m])", "expected type");
    check_refused("nonsense(x)", "unknown function");
    check_refused("{}", "non-empty matcher");
    check_refused(r#"{a=~".*"}"#, "non-empty matcher");
    check_refused("", "is not understood");
    check_refused("a b", "newer");
    check_refused(r#"x{a="b"#, "a string has no end");
    check_refused("x{a=`b", "a string has no end");
    check_refused(r#"x{a=~"("}"#, "a regular expression is wrong");
    check_refused("sum by () (x)", "survive");
    for query in ["1", "time()", "vector(1)", "scalar(x)", "x > bool 1"] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
}

/// `VictoriaMetrics` has alternatives within braces; nobody knows what it makes of such a label.
#[test]
fn labels_are_no_operators() {
    for query in [
        r#"x{or="a"}"#,
        r#"x{a="b" or "OR"="c"}"#,
        r#"{__name__="x",Or="a"}"#,
    ] {
        check_refused(query, "an operator there");
    }
    check_confined("sum by (or) (or)", r#"sum by (or) (or{namespace="shop"})"#);
}

/// Both panic in the parser.
#[test]
fn numbers_that_no_duration_holds_are_refused() {
    check_refused("x offset Inf", "out of range");
    check_refused("rate(x[1e300])", "out of range");
}

#[test]
fn bytes_by_number_are_refused() {
    for query in [r#"x{a="\xe9"}"#, r"x{a='\377'}"] {
        check_refused(query, "byte by its number");
    }
    check_confined(
        r#"x{a="\x41\\xe9\101"}"#,
        r#"x{a="A\\xe9A",namespace="shop"}"#,
    );
}

#[test]
fn queries_have_bounds() {
    let terms = |count: usize| vec!["1"; count].join("+");
    assert_eq!(check(&terms(LEVELS + 1)), Ok(()));
    check_refused(&terms(LEVELS + 2), "operators and brackets");
    let ors = |count: usize| vec!["a"; count].join(" or ");
    check_refused(&ors(LEVELS + 2), "operators and brackets");
    let long = |count: usize| format!(r#"x{{a="{}"}}"#, "-".repeat(count - 7));
    assert_eq!(check(&long(QUERY_LENGTH)), Ok(()));
    check_refused(&long(QUERY_LENGTH + 1), "more than 8192 bytes");
    let wide = Confinement {
        namespace: Some(("namespace".to_owned(), "x".repeat(1024))),
        labels: BTreeMap::new(),
    };
    assert_eq!(
        confined(&["a"; 100].join("+"), &wide),
        Err(Problem::TooLongConfined)
    );
}

/// Each of these compiles for half a second and more where nothing is optimised.
#[test]
fn regular_expressions_have_a_weight() {
    for expression in [
        r"\\d{4}-\\d{2}-\\d{2}T.*",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "/api/v[12]/(pay|cart)/.+",
    ] {
        let query = format!(r#"x{{a=~"{expression}"}}"#);
        assert_eq!(check(&query), Ok(()), "{query}");
    }
    for expression in [
        r"\\w{100}",
        r"(\\pL{10}|x){9}",
        "(a{200}){200}",
        "(?i)k{30000}",
        "((((a{9}){9}){9}){9}){9}",
        "a{4294967295}",
        r"[a\\d&&\\w]{50}",
    ] {
        for operator in ["=~", "!~", "=~ ", "=~ # \"\n"] {
            let query = format!("x{{a{operator}\"{expression}\"}}");
            check_refused(&query, "too large");
        }
    }
    let many = |count: usize| format!("x{{{}}}", vec!["a=~`b`"; count].join(","));
    assert_eq!(check(&many(200)), Ok(()));
    check_refused(&many(255), "too large");
}

/// A thread of tokio has 2 MiB, and this runs somewhere on it.
#[test]
fn the_deepest_query_fits_on_half_a_stack() {
    let nested = |open: &str, close: &str, count: usize| {
        format!("{}x{}", open.repeat(count), close.repeat(count))
    };
    let deep = [
        nested("(", ")", LEVELS),
        nested("-", "", LEVELS),
        nested("abs(", ")", LEVELS),
        nested("sum(", ")", LEVELS),
        nested("sum_over_time(", "[1h:1m])", LEVELS / 2),
        ["x"; LEVELS + 1].join("+"),
        ["x"; LEVELS + 1].join("^"),
    ];
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let reader = thread.spawn(move || {
        for query in deep {
            let printed = confined(&query, &shop()).expect("it is within the limits");
            assert!(printed.contains(r#"x{namespace="shop"}"#));
        }
    });
    reader
        .expect("a thread")
        .join()
        .expect("the stack sufficed");
}

#[test]
fn pods_are_replaced_by_their_names_alone() {
    let text = confined(r#"max by (pod) (x{pod=~"$pods"})"#, &shop()).expect("a query");
    let names = ["checkout-1".to_owned(), r#"a.b"} or vector(1)"#.to_owned()];
    assert_eq!(
        with_pods(&text, &names),
        r#"max by (pod) (x{namespace="shop",pod=~"(?:checkout-1|a\\.b\"\\} or vector\\(1\\))"})"#
    );
    assert_eq!(
        with_pods(&text, &[]),
        r#"max by (pod) (x{namespace="shop",pod=~"[^\\s\\S]"})"#
    );
    let group = r#"label_replace(x, "a", "$pods_2", "b", "(?P<pods_2>.*)")"#;
    let text = confined(group, &shop()).expect("a query");
    assert_eq!(with_pods(&text, &names), text);
}

#[test]
fn pods_stand_only_in_matchers_by_regular_expression() {
    for query in [
        r#"x{pod=~"$pods|other"}"#,
        r"x{pod!~'$pods'}",
        r#"x{pod=~`$pods`, path=~"/$|b$"}"#,
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
    for query in [r#"x{pod="$pods"}"#, r#"x{a="b" or pod!="$pods"}"#] {
        check_refused(query, "write =~ or !~");
    }
    for query in [
        "$pods",
        "x[$pods]",
        r#"x{"$pods"="a"}"#,
        r#"sum by ("$pods") (x)"#,
        r#"a + on ("$pods") b"#,
        r#"a + on (b) group_left ("$pods") b"#,
        r#"label_replace(x, "a", "$pods", "b", "(.*)")"#,
    ] {
        check_refused(query, "outside of the value of a matcher");
    }
    check_refused(r#"x{pod=~"\\$pods"}"#, "a regular expression is wrong");
    check_refused(
        &format!(r#"x{{pod=~"{}"}}"#, "$pods".repeat(17)),
        "16 times",
    );
}

#[test]
fn other_variables_are_refused_by_name() {
    for (query, name) in [
        ("rate(x[$__rate_interval])", "$__rate_interval"),
        (r#"x{a=~"${env}"}"#, "${env}"),
        (r#"x{a="$podsy"}"#, "$podsy"),
    ] {
        let problem = Problem::UnknownVariable {
            name: name.to_owned(),
        };
        assert_eq!(check(query), Err(problem), "{query}");
    }
}

#[test]
fn an_error_quotes_little_of_a_query() {
    let name = "secret_".repeat(20);
    for query in [
        format!("{name}(x)"),
        format!("1{name}"),
        format!("x{{{name}}}"),
        format!(r#"x{{a=~"({name}"}}"#),
        format!("x{{a=${{{name}}}}}"),
        format!("{name} {name}"),
    ] {
        let problem = check(&query).expect_err("wrong").to_string();
        let quoted: String = name.chars().take(QUOTED + 1).collect();
        assert!(!problem.contains(&quoted), "{problem}");
    }
}
