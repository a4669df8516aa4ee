use super::{MODULES, Tool, check_platform};

#[test]
fn a_bed_waits_for_no_tool_that_few_ask_for() {
    assert!(!Tool::OF_EVERY_BED.contains(&Tool::Helm3));
    assert_eq!(Tool::OF_EVERY_BED.len() + 1, Tool::ALL.len());
}

#[test]
fn every_tool_is_a_tool_directive_of_its_module() {
    for tool in Tool::ALL {
        let wanted = tool.package();
        let directive = tool.module().go_mod.lines().any(|line| {
            let line = line.trim();
            line == wanted || line == format!("tool {wanted}")
        });
        assert!(directive, "{wanted} is not in tool(...) of go.mod");
    }
}

#[test]
fn every_module_has_a_tool() {
    for module in MODULES {
        assert!(
            Tool::ALL
                .iter()
                .any(|tool| tool.module().name == module.name)
        );
    }
}

#[test]
fn linux_on_both_machines_is_supported() {
    assert!(check_platform("linux", "x86_64").is_ok());
    assert!(check_platform("linux", "aarch64").is_ok());
}

#[test]
fn other_platforms_are_refused_with_advice() {
    for (system, machine, word) in [
        ("macos", "aarch64", "macos"),
        ("linux", "riscv64", "riscv64"),
    ] {
        let message = check_platform(system, machine).unwrap_err().to_string();
        assert!(
            message.contains(word) && message.contains("use "),
            "{message}"
        );
    }
}
