package countersign_test

import data.countersign

# The example is an operator's request for a format with the key, which every rule
# allows.

example := {
	"action": "mint",
	"actor": {"type": "api_key", "id": "key_1", "name": "ci", "person": "usr_1", "role": "operator"},
	"project": {"id": "prj_1", "name": "web"},
	"certificate": {"id": "cert_1", "name": "www", "sans": ["www.example.com"]},
	"format": {"id": "pkcs12", "contains_key": true, "needs_passphrase": true},
	"options": {},
	"passphrase": {"length": 12, "printable": true},
	"policy": {
		"allow_key_export": true,
		"approval": {"mode": "off", "required_approvals": 1},
		"min_passphrase_length": 8,
		"allow_legacy_encryption": true,
	},
	"time": "2026-01-02T03:04:05Z",
}

# decision_with is the decision on the example with JSON patches (RFC 6902) applied.
decision_with(patches) := d if {
	d := countersign.decision with input as json.patch(example, patches)
}

put(path, value) := {"op": "add", "path": path, "value": value}

remove(path) := {"op": "remove", "path": path}

mode(m) := put("/policy/approval/mode", m)

export(on) := put("/policy/allow_key_export", on)

without_key := put("/format", {"id": "fullchain", "contains_key": false, "needs_passphrase": false})

denied_as(d, code) if {
	d.outcome == "deny"
	d.code == code
	count(d.explanation) > 0
	d.required_approvals == 0
}

test_allows_the_example if {
	d := decision_with([])
	d.outcome == "allow"
	d.code == ""
	d.remedies == []
	d.explanation == ["The format pkcs12 contains the private key; the project's policy has key export on and approval mode off."]
}

test_roles_below_operator_are_forbidden if {
	every role in ["viewer", "", "owner", "Admin", null, 4] {
		denied_as(decision_with([put("/actor/role", role)]), "forbidden")
		denied_as(decision_with([put("/actor/role", role), without_key]), "forbidden")
	}
	denied_as(decision_with([remove("/actor/role")]), "forbidden")
	denied_as(decision_with([remove("/actor")]), "forbidden")
}

test_roles_from_operator_up_are_allowed if {
	every role in ["operator", "approver", "admin"] {
		decision_with([put("/actor/role", role)]).outcome == "allow"
	}
}

test_key_export_off_and_approval_off_denies_the_key if {
	d := decision_with([export(false)])
	denied_as(d, "key_export_disabled")
	count(d.remedies) == 3
	startswith(d.remedies[0], "Ask an administrator of the project to switch on \"Allow key export\"")
}

test_an_administrator_gets_direct_remedies if {
	d := decision_with([export(false), put("/actor/role", "admin")])
	startswith(d.remedies[0], "Switch on \"Allow key export\"")
}

test_key_export_off_with_approval_asks_for_approval if {
	every m in ["key_export", "all"] {
		decision_with([export(false), mode(m)]).outcome == "approval"
	}
}

test_key_export_on_with_approval_asks_for_approval if {
	every m in ["key_export", "all"] {
		decision_with([mode(m)]).outcome == "approval"
	}
}

claim(approvals) := [put("/action", "claim"), put("/approvals", approvals), mode("key_export"), put("/policy/approval/required_approvals", 2)]

test_a_claim_needs_as_many_approvals_as_the_rules_ask_for_now if {
	decision_with(claim(2)).outcome == "allow"
	decision_with(claim(3)).outcome == "allow"
	every few in [0, 1, -1, null, "2"] {
		d := decision_with(claim(few))
		d.outcome == "approval"
		d.required_approvals == 2
	}
}

test_approvals_count_for_a_claim_alone if {
	every action in ["mint", "evaluate", "", null] {
		decision_with(array.concat(claim(9), [put("/action", action)])).outcome == "approval"
	}
}

test_approvals_are_the_exception_to_key_export_off if {
	decision_with(array.concat(claim(2), [export(false)])).outcome == "allow"
	denied_as(decision_with(array.concat(claim(2), [export(false), mode("off")])), "key_export_disabled")
}

test_approvals_override_no_other_rule if {
	denied_as(decision_with(array.concat(claim(2), [put("/actor/role", "viewer")])), "forbidden")
	denied_as(decision_with(array.concat(claim(2), [put("/passphrase/length", 0)])), "passphrase_required")
	denied_as(decision_with(array.concat(claim(2), [put("/options", {"legacy": true}), put("/policy/allow_legacy_encryption", false)])), "legacy_encryption_disabled")
}

test_without_the_key_only_mode_all_asks_for_approval if {
	every on in [true, false] {
		decision_with([export(on), without_key, mode("off")]).outcome == "allow"
		decision_with([export(on), without_key, mode("key_export")]).outcome == "allow"
		decision_with([export(on), without_key, mode("all")]).outcome == "approval"
	}
}

test_an_unknown_mode_denies if {
	every m in ["", "OFF", "none", null, false] {
		denied_as(decision_with([mode(m)]), "policy_denied")
		denied_as(decision_with([mode(m), without_key]), "policy_denied")
		denied_as(decision_with([mode(m), export(false)]), "key_export_disabled")
	}
	denied_as(decision_with([remove("/policy/approval")]), "policy_denied")
	denied_as(decision_with([remove("/policy")]), "key_export_disabled")
}

test_key_export_is_on_only_when_true if {
	every v in ["true", 1, null] {
		denied_as(decision_with([export(v)]), "key_export_disabled")
	}
}

test_a_format_contains_the_key_unless_it_declares_otherwise if {
	denied_as(decision_with([export(false), remove("/format/contains_key")]), "key_export_disabled")
	denied_as(decision_with([export(false), put("/format/contains_key", "false")]), "key_export_disabled")
	denied_as(decision_with([export(false), remove("/format")]), "key_export_disabled")
}

# The remedies of an approval must change it.

test_an_approval_of_a_key_says_what_would_change_it if {
	every on in [true, false] {
		d := decision_with([export(on), mode("key_export")])
		count(d.remedies) == 2
		startswith(d.remedies[0], "Pick a format without the private key")
		decision_with([export(on), mode("key_export"), without_key]).outcome == "allow"
		startswith(d.remedies[1], "Ask an administrator of the project to set approval mode off")
		contains(d.remedies[1], "Allow key export") == (on == false)
		decision_with([export(true), mode("off")]).outcome == "allow"
	}
}

test_an_approval_of_everything_says_what_would_change_it if {
	d := decision_with([mode("all"), without_key, put("/actor/role", "admin")])
	d.remedies == ["Set approval mode off in the project's certificate policy."]
	decision_with([mode("off"), without_key]).outcome == "allow"
	key := decision_with([mode("all"), export(false)])
	key.remedies == [`Ask an administrator of the project to set approval mode off in the project's certificate policy and switch on "Allow key export".`]
}

test_required_approvals_come_from_the_policy if {
	every n in [1, 2, 64] {
		decision_with([mode("all"), put("/policy/approval/required_approvals", n)]).required_approvals == n
	}
}

test_required_approvals_are_never_fewer_than_one if {
	every n in [0, -3, "0", "3", null, [], 0.2] {
		decision_with([mode("all"), put("/policy/approval/required_approvals", n)]).required_approvals == 1
	}
	decision_with([mode("all"), remove("/policy/approval/required_approvals")]).required_approvals == 1
	decision_with([mode("all"), put("/policy/approval/required_approvals", 1.5)]).required_approvals == 2
}

test_legacy_encryption_needs_the_policy if {
	off := put("/policy/allow_legacy_encryption", false)
	legacy := put("/options/legacy", true)
	decision_with([legacy]).outcome == "allow"
	decision_with([off]).outcome == "allow"
	decision_with([off, put("/options/legacy", false)]).outcome == "allow"
	denied_as(decision_with([off, legacy]), "legacy_encryption_disabled")
	denied_as(decision_with([off, put("/options/legacy", "true")]), "legacy_encryption_disabled")
	denied_as(decision_with([off, legacy, mode("all")]), "legacy_encryption_disabled")
	denied_as(decision_with([remove("/policy/allow_legacy_encryption"), legacy]), "legacy_encryption_disabled")
}

passphrase(length) := put("/passphrase/length", length)

test_passphrase_length if {
	denied_as(decision_with([passphrase(0)]), "passphrase_required")
	denied_as(decision_with([passphrase(7)]), "passphrase_invalid")
	decision_with([passphrase(8)]).outcome == "allow"
	decision_with([passphrase(128)]).outcome == "allow"
	denied_as(decision_with([passphrase(129)]), "passphrase_invalid")
}

test_passphrase_of_unknown_length_is_none if {
	denied_as(decision_with([passphrase("12")]), "passphrase_required")
	denied_as(decision_with([remove("/passphrase/length")]), "passphrase_required")
	denied_as(decision_with([passphrase(-1)]), "passphrase_required")
}

test_passphrase_minimum_is_the_policys if {
	minimum := put("/policy/min_passphrase_length", 20)
	denied_as(decision_with([minimum, passphrase(19)]), "passphrase_invalid")
	decision_with([minimum, passphrase(20)]).outcome == "allow"
	every n in ["", null] {
		denied_as(decision_with([put("/policy/min_passphrase_length", n), passphrase(7)]), "passphrase_invalid")
	}
	denied_as(decision_with([put("/policy/min_passphrase_length", 0), passphrase(0)]), "passphrase_required")
}

test_passphrase_must_be_printable if {
	denied_as(decision_with([put("/passphrase/printable", false)]), "passphrase_invalid")
	denied_as(decision_with([remove("/passphrase/printable")]), "passphrase_invalid")
}

test_passphrase_is_not_checked_where_none_is_needed_or_given if {
	decision_with([without_key, passphrase(0)]).outcome == "allow"
	decision_with([put("/passphrase", null)]).outcome == "allow"
}

test_a_format_needs_a_passphrase_unless_it_declares_otherwise if {
	denied_as(decision_with([passphrase(0), remove("/format/needs_passphrase")]), "passphrase_required")
	denied_as(decision_with([passphrase(0), put("/format/needs_passphrase", "no")]), "passphrase_required")
}

test_passphrase_is_checked_last if {
	denied_as(decision_with([passphrase(0), export(false)]), "key_export_disabled")
	decision_with([passphrase(0), mode("all")]).outcome == "approval"
}

test_the_most_important_denial_gives_the_code_and_all_are_explained if {
	d := decision_with([
		export(false),
		put("/actor/role", "viewer"),
		put("/options/legacy", true),
		put("/policy/allow_legacy_encryption", false),
	])
	denied_as(d, "forbidden")
	count(d.explanation) == 3
	contains(d.explanation[0], "viewer")
	contains(d.explanation[1], "pkcs12")
}

# Rules that a team's files may add.

test_an_added_deny_beats_approval_and_allow if {
	every m in ["off", "all"] {
		d := countersign.decision with input as json.patch(example, [mode(m)])
			with countersign.deny as {"No exports on Fridays."}
		denied_as(d, "policy_denied")
		d.explanation == ["No exports on Fridays."]
	}
}

test_an_added_approval_beats_allow_and_the_most_approvals_count if {
	d := countersign.decision with input as example
		with countersign.approval as {{"why": "Two.", "required_approvals": 2, "remedies": ["Wait.", "Go."]}, "One.", {"why": "None?", "required_approvals": 0}}
	d.outcome == "approval"
	d.remedies == ["Wait.", "Go."]
	d.required_approvals == 2
	count(d.explanation) == 3
}

test_an_added_approval_cannot_allow_an_unknown_mode if {
	every action in ["mint", "claim"] {
		d := countersign.decision with input as json.patch(example, [mode("none"), put("/action", action), put("/approvals", 9)])
			with countersign.approval as {"One."}
		denied_as(d, "policy_denied")
	}
}

test_every_rule_that_applies_is_listed if {
	listed := countersign.rules with input as json.patch(example, [put("/actor/role", "viewer"), mode("key_export"), put("/policy/approval/required_approvals", 2)])
	[[r.kind, r.code, r.required_approvals, count(r.remedies)] | some r in listed] == [["deny", "forbidden", 0, 1], ["approval", "", 2, 2]]
	every r in listed {
		r.why != ""
	}
}

test_the_rule_that_allows_is_listed if {
	listed := countersign.rules with input as example
	[r.kind | some r in listed] == ["allow"]
	listed[0].why == decision_with([]).explanation[0]
}

test_nothing_is_listed_where_no_rule_applies if {
	[] == countersign.rules with input as example with countersign.allow as set()
}

test_no_reason_at_all_denies if {
	d := countersign.decision with input as example with countersign.allow as set()
	denied_as(d, "policy_denied")
}

test_no_input_denies if {
	denied_as(countersign.decision, "forbidden") with input as {}
	denied_as(countersign.decision, "forbidden") with input as null
}

test_a_java_keystore_is_legacy_encryption if {
	jks := put("/format/id", "jks")
	decision_with([jks]).outcome == "allow"
	denied_as(decision_with([jks, put("/policy/allow_legacy_encryption", false)]), "legacy_encryption_disabled")
	decision_with([put("/format/id", "jks-truststore"), put("/policy/allow_legacy_encryption", false)]).outcome == "allow"
}
