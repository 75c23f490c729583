package countersign_test

import data.countersign

# The example is an operator's request for a format with the key, in a project
# where nothing stands in its way.

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

# decided is the decision on the example with JSON patches (RFC 6902) applied.
decided(patches) := d if {
	d := countersign.decision with input as json.patch(example, patches)
}

put(path, value) := {"op": "add", "path": path, "value": value}

gone(path) := {"op": "remove", "path": path}

mode(m) := put("/policy/approval/mode", m)

export(on) := put("/policy/allow_key_export", on)

no_key := put("/format", {"id": "fullchain", "contains_key": false, "needs_passphrase": false})

denied_as(d, code) if {
	d.outcome == "deny"
	d.code == code
	count(d.explanation) > 0
	d.required_approvals == 0
}

test_allows_the_example if {
	d := decided([])
	d.outcome == "allow"
	d.code == ""
	d.remedies == []
	d.explanation == ["The format pkcs12 holds the private key; the project's policy has key export on and approval mode off."]
}

test_roles_below_operator_are_forbidden if {
	every role in ["viewer", "", "owner", "Admin", null, 4] {
		denied_as(decided([put("/actor/role", role)]), "forbidden")
		denied_as(decided([put("/actor/role", role), no_key]), "forbidden")
	}
	denied_as(decided([gone("/actor/role")]), "forbidden")
	denied_as(decided([gone("/actor")]), "forbidden")
}

test_roles_from_operator_up_are_allowed if {
	every role in ["operator", "approver", "admin"] {
		decided([put("/actor/role", role)]).outcome == "allow"
	}
}

test_key_export_off_and_approval_off_denies_the_key if {
	d := decided([export(false)])
	denied_as(d, "key_export_disabled")
	count(d.remedies) == 3
	startswith(d.remedies[0], "Ask an administrator of the project to switch on \"Allow key export\"")
}

test_an_administrator_is_told_what_to_do_themselves if {
	d := decided([export(false), put("/actor/role", "admin")])
	startswith(d.remedies[0], "Switch on \"Allow key export\"")
}

test_key_export_off_with_approval_asks_for_approval if {
	every m in ["key_export", "all"] {
		decided([export(false), mode(m)]).outcome == "approval"
	}
}

test_key_export_on_with_approval_asks_for_approval if {
	every m in ["key_export", "all"] {
		decided([mode(m)]).outcome == "approval"
	}
}

claim(approvals) := [put("/action", "claim"), put("/approvals", approvals), mode("key_export"), put("/policy/approval/required_approvals", 2)]

test_a_claim_needs_as_many_approvals_as_the_rules_ask_for_now if {
	decided(claim(2)).outcome == "allow"
	decided(claim(3)).outcome == "allow"
	every few in [0, 1, -1, null, "2"] {
		d := decided(claim(few))
		d.outcome == "approval"
		d.required_approvals == 2
	}
}

test_approvals_count_for_a_claim_alone if {
	every action in ["mint", "evaluate", "", null] {
		decided(array.concat(claim(9), [put("/action", action)])).outcome == "approval"
	}
}

test_approvals_are_the_exception_to_key_export_off if {
	decided(array.concat(claim(2), [export(false)])).outcome == "allow"
	denied_as(decided(array.concat(claim(2), [export(false), mode("off")])), "key_export_disabled")
}

test_approvals_lift_no_other_rule if {
	denied_as(decided(array.concat(claim(2), [put("/actor/role", "viewer")])), "forbidden")
	denied_as(decided(array.concat(claim(2), [put("/passphrase/length", 0)])), "passphrase_required")
	denied_as(decided(array.concat(claim(2), [put("/options", {"legacy": true}), put("/policy/allow_legacy_encryption", false)])), "legacy_encryption_disabled")
}

test_without_the_key_only_mode_all_asks_for_approval if {
	every on in [true, false] {
		decided([export(on), no_key, mode("off")]).outcome == "allow"
		decided([export(on), no_key, mode("key_export")]).outcome == "allow"
		decided([export(on), no_key, mode("all")]).outcome == "approval"
	}
}

test_an_unknown_mode_denies if {
	every m in ["", "OFF", "none", null, false] {
		denied_as(decided([mode(m)]), "policy_denied")
		denied_as(decided([mode(m), no_key]), "policy_denied")
		denied_as(decided([mode(m), export(false)]), "key_export_disabled")
	}
	denied_as(decided([gone("/policy/approval")]), "policy_denied")
	denied_as(decided([gone("/policy")]), "key_export_disabled")
}

test_key_export_is_on_only_when_true if {
	every v in ["true", 1, null] {
		denied_as(decided([export(v)]), "key_export_disabled")
	}
}

test_a_format_holds_the_key_unless_it_says_not if {
	denied_as(decided([export(false), gone("/format/contains_key")]), "key_export_disabled")
	denied_as(decided([export(false), put("/format/contains_key", "false")]), "key_export_disabled")
	denied_as(decided([export(false), gone("/format")]), "key_export_disabled")
}

# What would change an approval must change it.

test_an_approval_of_a_key_says_what_would_change_it if {
	every on in [true, false] {
		d := decided([export(on), mode("key_export")])
		count(d.remedies) == 2
		startswith(d.remedies[0], "Pick a format without the private key")
		decided([export(on), mode("key_export"), no_key]).outcome == "allow"
		startswith(d.remedies[1], "Ask an administrator of the project to set approval mode off")
		contains(d.remedies[1], "Allow key export") == (on == false)
		decided([export(true), mode("off")]).outcome == "allow"
	}
}

test_an_approval_of_everything_says_what_would_change_it if {
	d := decided([mode("all"), no_key, put("/actor/role", "admin")])
	d.remedies == ["Set approval mode off in the project's certificate policy."]
	decided([mode("off"), no_key]).outcome == "allow"
	key := decided([mode("all"), export(false)])
	key.remedies == [`Ask an administrator of the project to set approval mode off in the project's certificate policy and switch on "Allow key export".`]
}

test_required_approvals_come_from_the_policy if {
	every n in [1, 2, 64] {
		decided([mode("all"), put("/policy/approval/required_approvals", n)]).required_approvals == n
	}
}

test_required_approvals_are_never_fewer_than_one if {
	every n in [0, -3, "0", "3", null, [], 0.2] {
		decided([mode("all"), put("/policy/approval/required_approvals", n)]).required_approvals == 1
	}
	decided([mode("all"), gone("/policy/approval/required_approvals")]).required_approvals == 1
	decided([mode("all"), put("/policy/approval/required_approvals", 1.5)]).required_approvals == 2
}

test_legacy_encryption_needs_the_policy if {
	off := put("/policy/allow_legacy_encryption", false)
	legacy := put("/options/legacy", true)
	decided([legacy]).outcome == "allow"
	decided([off]).outcome == "allow"
	decided([off, put("/options/legacy", false)]).outcome == "allow"
	denied_as(decided([off, legacy]), "legacy_encryption_disabled")
	denied_as(decided([off, put("/options/legacy", "true")]), "legacy_encryption_disabled")
	denied_as(decided([off, legacy, mode("all")]), "legacy_encryption_disabled")
	denied_as(decided([gone("/policy/allow_legacy_encryption"), legacy]), "legacy_encryption_disabled")
}

passphrase(length) := put("/passphrase/length", length)

test_passphrase_length if {
	denied_as(decided([passphrase(0)]), "passphrase_required")
	denied_as(decided([passphrase(7)]), "passphrase_invalid")
	decided([passphrase(8)]).outcome == "allow"
	decided([passphrase(128)]).outcome == "allow"
	denied_as(decided([passphrase(129)]), "passphrase_invalid")
}

test_passphrase_of_unknown_length_is_none if {
	denied_as(decided([passphrase("12")]), "passphrase_required")
	denied_as(decided([gone("/passphrase/length")]), "passphrase_required")
	denied_as(decided([passphrase(-1)]), "passphrase_required")
}

test_passphrase_minimum_is_the_policys if {
	minimum := put("/policy/min_passphrase_length", 20)
	denied_as(decided([minimum, passphrase(19)]), "passphrase_invalid")
	decided([minimum, passphrase(20)]).outcome == "allow"
	every n in ["", null] {
		denied_as(decided([put("/policy/min_passphrase_length", n), passphrase(7)]), "passphrase_invalid")
	}
	denied_as(decided([put("/policy/min_passphrase_length", 0), passphrase(0)]), "passphrase_required")
}

test_passphrase_must_be_printable if {
	denied_as(decided([put("/passphrase/printable", false)]), "passphrase_invalid")
	denied_as(decided([gone("/passphrase/printable")]), "passphrase_invalid")
}

test_passphrase_is_left_alone_where_none_is_needed_or_asked_about if {
	decided([no_key, passphrase(0)]).outcome == "allow"
	decided([put("/passphrase", null)]).outcome == "allow"
}

test_a_format_needs_a_passphrase_unless_it_says_not if {
	denied_as(decided([passphrase(0), gone("/format/needs_passphrase")]), "passphrase_required")
	denied_as(decided([passphrase(0), put("/format/needs_passphrase", "no")]), "passphrase_required")
}

test_passphrase_comes_after_every_other_answer if {
	denied_as(decided([passphrase(0), export(false)]), "key_export_disabled")
	decided([passphrase(0), mode("all")]).outcome == "approval"
}

test_the_weightiest_denial_gives_the_code_and_all_are_explained if {
	d := decided([
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

# What a team's own files may add.

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

test_an_added_approval_cannot_stand_in_for_an_unknown_mode if {
	every action in ["mint", "claim"] {
		d := countersign.decision with input as json.patch(example, [mode("none"), put("/action", action), put("/approvals", 9)])
			with countersign.approval as {"One."}
		denied_as(d, "policy_denied")
	}
}

test_every_rule_that_spoke_is_listed if {
	listed := countersign.rules with input as json.patch(example, [put("/actor/role", "viewer"), mode("key_export"), put("/policy/approval/required_approvals", 2)])
	[[r.kind, r.code, r.required_approvals, count(r.remedies)] | some r in listed] == [["deny", "forbidden", 0, 1], ["approval", "", 2, 2]]
	every r in listed {
		r.why != ""
	}
}

test_the_rule_that_allows_is_listed if {
	listed := countersign.rules with input as example
	[r.kind | some r in listed] == ["allow"]
	listed[0].why == decided([]).explanation[0]
}

test_nothing_is_listed_where_no_rule_spoke if {
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
	decided([jks]).outcome == "allow"
	denied_as(decided([jks, put("/policy/allow_legacy_encryption", false)]), "legacy_encryption_disabled")
	decided([put("/format/id", "jks-truststore"), put("/policy/allow_legacy_encryption", false)]).outcome == "allow"
}
