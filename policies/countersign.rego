# The rules that decide whether a certificate may be downloaded. The input is
# the JSON form of engine.PolicyInput; the entry point is data.countersign.decision.
#
# Each rule adds a reason to one of the sets deny, approval and allow. A deny has
# precedence over an approval, and an approval over an allow; no reason at all
# denies. So the order of rules and files does not matter, and a team's file can
# only make a decision stricter. README.md describes how to write one. A team's
# file cannot define any other name of this file.
#
# A member of the input that is missing or has the wrong type counts as the
# stricter of its values.
package countersign

# The role.

roles := {"operator", "approver", "admin"}

deny contains {
	"code": "forbidden",
	"why": sprintf("A download needs the role operator or a higher one; the caller's role is %q.", [role]),
	"remedies": ["Ask an administrator of the project for the role operator."],
} if {
	not role in roles
}

# Key export and approval.

deny contains {
	"code": "key_export_disabled",
	"why": sprintf("The format %s contains the private key, and the project's policy has key export off and approval mode %s.", [format, mode]),
	"remedies": key_export_remedies,
} if {
	contains_key
	not key_export_on
	not mode in {"key_export", "all"}
}

# A team's rule may require approval of any download, and enough approvals replace
# an allow. So a mode that no rule allows must deny.
deny contains "The project's policy has an unknown approval mode." if {
	mode == "unknown"
}

approval contains {
	"why": sprintf("The project's policy requires approval of every download (approval mode all); the format is %s.", [format]),
	"remedies": [approval_off],
	"required_approvals": policy_approvals,
} if {
	mode == "all"
}

approval contains {
	"why": sprintf("The format %s contains the private key, and the project's policy requires approval of private keys (approval mode key_export).", [format]),
	"remedies": [keyless_format, approval_off],
	"required_approvals": policy_approvals,
} if {
	mode == "key_export"
	contains_key
}

allow contains sprintf("The format %s contains no private key, and approval mode %s requires no approval for it.", [format, mode]) if {
	not contains_key
	mode in {"off", "key_export"}
}

allow contains sprintf("The format %s contains the private key; the project's policy has key export on and approval mode off.", [format]) if {
	contains_key
	key_export_on
	mode == "off"
}

key_export_remedies := [
	sprintf(`%s "Allow key export" in the project's certificate policy.`, [admin_action("switch on", "Switch on")]),
	sprintf(`%s approval mode key_export in the project's certificate policy: you can then request approval for this key.`, [admin_action("set", "Set")]),
	keyless_format,
]

keyless_format := "Pick a format without the private key, such as fullchain."

# Without approval, a private key needs key export switched on.
approval_off := sprintf("%s approval mode off in the project's certificate policy%s.", [admin_action("set", "Set"), and_key_export])

and_key_export := ` and switch on "Allow key export"` if {
	contains_key
	not key_export_on
} else := ""

# Legacy encryption.

deny contains {
	"code": "legacy_encryption_disabled",
	"why": "The option legacy selects 3DES and SHA-1, and the project's policy has legacy encryption off.",
	"remedies": [
		"Remove the option legacy: the file is then encrypted with AES-256.",
		sprintf(`%s "Allow legacy encryption" in the project's certificate policy.`, [admin_action("switch on", "Switch on")]),
	],
} if {
	input.options.legacy != false
	not input.policy.allow_legacy_encryption == true
}

deny contains {
	"code": "legacy_encryption_disabled",
	"why": "The format jks protects the private key with SHA-1 alone, and the project's policy has legacy encryption off.",
	"remedies": [
		"Pick the format pkcs12: Java 8u301 and later open it.",
		sprintf(`%s "Allow legacy encryption" in the project's certificate policy.`, [admin_action("switch on", "Switch on")]),
	],
} if {
	format == "jks"
	not input.policy.allow_legacy_encryption == true
}

# The passphrase. It is checked only if a file would be made now.

max_passphrase := 128

passphrase_problem := {
	"code": "passphrase_required",
	"why": sprintf("The format %s is encrypted under a passphrase, and none was given.", [format]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length <= 0
} else := {
	"code": "passphrase_invalid",
	"why": sprintf("The passphrase has %d characters; the project's policy requires at least %d.", [passphrase_length, min_passphrase]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length < min_passphrase
} else := {
	"code": "passphrase_invalid",
	"why": sprintf("The passphrase has %d characters; at most %d are allowed.", [passphrase_length, max_passphrase]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length > max_passphrase
} else := {
	"code": "passphrase_invalid",
	"why": "The passphrase has characters other than printable ASCII, which importing programs read in different ways.",
	"remedies": [passphrase_remedy],
} if {
	not input.passphrase.printable == true
}

passphrase_remedy := sprintf("Send a passphrase of %d to %d printable ASCII characters.", [min_passphrase, max_passphrase])

passphrase_matters if {
	input.passphrase != null
	not input.format.needs_passphrase == false
}

# The values of the input, or the stricter value where the input has none.

default role := ""

role := input.actor.role

default format := "(unknown)"

format := input.format.id

default mode := "unknown"

mode := input.policy.approval.mode if input.policy.approval.mode in {"off", "key_export", "all"}

contains_key if not input.format.contains_key == false

key_export_on if input.policy.allow_key_export == true

default policy_approvals := 1

policy_approvals := at_least_one(input.policy.approval.required_approvals)

at_least_one(n) := max({1, ceil(n)}) if is_number(n)

default passphrase_length := 0

passphrase_length := input.passphrase.length if is_number(input.passphrase.length)

default min_passphrase := 8

min_passphrase := at_least_one(input.policy.min_passphrase_length)

admin_action(_, imperative) := imperative if role == "admin"

admin_action(infinitive, _) := sprintf("Ask an administrator of the project to %s", [infinitive]) if role != "admin"

# The decision: deny, else approval (unless enough people approved), else the
# passphrase, else allow, else deny. An undefined value continues with the next
# else, so each branch repeats the conditions that it depends on.

decision := refusal(denials) if {
	count(deny) > 0
} else := {
	"outcome": "approval",
	"code": "",
	"explanation": [a.why | some a in approvals],
	"remedies": remedies_of(approvals),
	"required_approvals": needed_approvals,
} if {
	count(deny) == 0
	count(approval) > 0
	not approved
} else := refusal([passphrase_problem]) if {
	not_blocked
	passphrase_matters
} else := {
	"outcome": "allow",
	"code": "",
	"explanation": array.concat(sort(allow), [sprintf("%d people approved, and the rules require %d.", [input.approvals, needed_approvals]) | approved]),
	"remedies": [],
	"required_approvals": 0,
} if {
	not_blocked
	allowed
} else := refusal([{"code": "policy_denied", "why": "No rule allows this download.", "remedies": []}])

not_blocked if {
	count(deny) == 0
	count(approval) == 0
}

not_blocked if {
	count(deny) == 0
	approved
}

allowed if count(allow) > 0

allowed if approved

# Enough people approved. Approvals count for the claim of an approved request and
# for the redemption of its token only.
approved if {
	count(approval) > 0
	input.action in {"claim", "redeem"}
	is_number(input.approvals)
	input.approvals >= needed_approvals
}

needed_approvals := max(array.concat([1], [ceil(a.required_approvals) | some a in approvals]))

# A denial explains all reasons, under the code of the most important one.
refusal(reasons) := {
	"outcome": "deny",
	"code": reasons[0].code,
	"explanation": [r.why | some r in reasons],
	"remedies": remedies_of(reasons),
	"required_approvals": 0,
}

remedies_of(reasons) := [remedy | some r in reasons; some remedy in r.remedies]

# The result of each rule that applies, for an evaluation.
rules := array.concat(
	array.concat(
		[rule_result("deny", r, sprintf("%v", [r.code]), 0) | some r in denials],
		[rule_result("approval", a, "", at_least_one(a.required_approvals)) | some a in approvals],
	),
	[rule_result("allow", {"why": why, "remedies": []}, "", 0) | some why in sort(allow)],
)

rule_result(kind, r, code, needed) := {"kind": kind, "code": code, "why": r.why, "remedies": remedies_of([r]), "required_approvals": needed}

denials := [r | some [_, r] in sort([[code_order(r.code), r] | some d in deny; r := reason(d)])]

code_order(code) := object.get({"forbidden": 0, "key_export_disabled": 1, "legacy_encryption_disabled": 2}, code, 3)

approvals := [reason(a) | some a in approval]

# A reason with all members. A reason that is not a string or an object is an error,
# which denies.
reason(r) := object.union(reason_defaults, r) if not is_string(r)

reason(r) := object.union(reason_defaults, {"why": r}) if is_string(r)

reason_defaults := {
	"why": "A rule without an explanation applies.",
	"code": "policy_denied",
	"remedies": [],
	"required_approvals": policy_approvals,
}
