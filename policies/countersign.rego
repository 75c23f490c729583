# The rules that decide whether a certificate may be downloaded. The input is
# the JSON form of engine.PolicyInput; the entry point is data.countersign.decision.
#
# A rule adds a reason to one of three sets, and the sets are weighed at the end:
# any deny beats any approval, any approval beats any allow, and no reason at all
# denies. So the order of rules and files does not matter, and a file added
# beside this one can only make the decision stricter:
#
#   package countersign
#   deny contains "No exports on Sundays." if time.weekday(time.parse_rfc3339_ns(input.time)) == "Sunday"
#   approval contains {"why": "The wildcard needs two.", "required_approvals": 2} if "*.example.com" in input.certificate.sans
#
# A reason is a sentence, or an object: why, remedies (sentences that say what
# would change it), code (a problem code, for deny; policy_denied without one) and
# required_approvals (approval).
# Every other name of this file, helpers and variables too, is its own: a file
# beside it that defines one is refused.
# Members of the input that are missing or of the wrong type count as the
# stricter of their values.
package countersign

# Who may ask.

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
	"why": sprintf("The format %s holds the private key, and the project's policy has key export off and approval mode %s.", [format, mode]),
	"remedies": key_export_remedies,
} if {
	holds_key
	not key_export_on
	not mode in {"key_export", "all"}
}

# A file beside this one may ask for approval of anything, and approval then
# stands in for allow: where no rule here would allow, one must deny.
deny contains "The project's policy has an approval mode that no rule knows." if {
	mode == "unknown"
}

approval contains {
	"why": sprintf("The project's policy asks for approval before every download (approval mode all); the format is %s.", [format]),
	"remedies": [approval_off],
	"required_approvals": policy_approvals,
} if {
	mode == "all"
}

approval contains {
	"why": sprintf("The format %s holds the private key, and the project's policy asks for approval before a key leaves (approval mode key_export).", [format]),
	"remedies": [keyless_format, approval_off],
	"required_approvals": policy_approvals,
} if {
	mode == "key_export"
	holds_key
}

allow contains sprintf("The format %s holds no private key, and approval mode %s asks for no approval of it.", [format, mode]) if {
	not holds_key
	mode in {"off", "key_export"}
}

allow contains sprintf("The format %s holds the private key; the project's policy has key export on and approval mode off.", [format]) if {
	holds_key
	key_export_on
	mode == "off"
}

key_export_remedies := [
	sprintf(`%s "Allow key export" in the project's certificate policy.`, [admin_does("switch on", "Switch on")]),
	sprintf(`%s approval mode key_export in the project's certificate policy: then you can ask approvers for this key.`, [admin_does("set", "Set")]),
	keyless_format,
]

keyless_format := "Pick a format without the private key, such as fullchain."

# Without approvals, a key leaves only where key export is on.
approval_off := sprintf("%s approval mode off in the project's certificate policy%s.", [admin_does("set", "Set"), with_export])

with_export := ` and switch on "Allow key export"` if {
	holds_key
	not key_export_on
} else := ""

# Legacy encryption.

deny contains {
	"code": "legacy_encryption_disabled",
	"why": "The option legacy asks for 3DES and SHA-1, and the project's policy has legacy encryption off.",
	"remedies": [
		"Leave the option legacy out: the file is then encrypted with AES-256.",
		sprintf(`%s "Allow legacy encryption" in the project's certificate policy.`, [admin_does("switch on", "Switch on")]),
	],
} if {
	input.options.legacy != false
	not input.policy.allow_legacy_encryption == true
}

deny contains {
	"code": "legacy_encryption_disabled",
	"why": "The format jks protects the private key with SHA-1 alone, and the project's policy has legacy encryption off.",
	"remedies": [
		"Pick the format pkcs12: every Java since 8u301 opens it.",
		sprintf(`%s "Allow legacy encryption" in the project's certificate policy.`, [admin_does("switch on", "Switch on")]),
	],
} if {
	format == "jks"
	not input.policy.allow_legacy_encryption == true
}

# The passphrase, which matters only where a file would be made now.

max_passphrase := 128

passphrase_fault := {
	"code": "passphrase_required",
	"why": sprintf("The format %s is encrypted under a passphrase, and none was given.", [format]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length <= 0
} else := {
	"code": "passphrase_invalid",
	"why": sprintf("The passphrase has %d characters; the project's policy asks for at least %d.", [passphrase_length, min_passphrase]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length < min_passphrase
} else := {
	"code": "passphrase_invalid",
	"why": sprintf("The passphrase has %d characters; a passphrase has at most %d.", [passphrase_length, max_passphrase]),
	"remedies": [passphrase_remedy],
} if {
	passphrase_length > max_passphrase
} else := {
	"code": "passphrase_invalid",
	"why": "The passphrase has characters other than printable ASCII, which importers read differently.",
	"remedies": [passphrase_remedy],
} if {
	not input.passphrase.printable == true
}

passphrase_remedy := sprintf("Send a passphrase of %d to %d printable ASCII characters.", [min_passphrase, max_passphrase])

passphrase_matters if {
	input.passphrase != null
	not input.format.needs_passphrase == false
}

# The facts, each with the stricter value where the input has none.

default role := ""

role := input.actor.role

default format := "asked for"

format := input.format.id

default mode := "unknown"

mode := input.policy.approval.mode if input.policy.approval.mode in {"off", "key_export", "all"}

holds_key if not input.format.contains_key == false

key_export_on if input.policy.allow_key_export == true

default policy_approvals := 1

policy_approvals := at_least_one(input.policy.approval.required_approvals)

at_least_one(n) := max({1, ceil(n)}) if is_number(n)

default passphrase_length := 0

passphrase_length := input.passphrase.length if is_number(input.passphrase.length)

default min_passphrase := 8

min_passphrase := at_least_one(input.policy.min_passphrase_length)

admin_does(_, imperative) := imperative if role == "admin"

admin_does(infinitive, _) := sprintf("Ask an administrator of the project to %s", [infinitive]) if role != "admin"

# The decision: deny, else approval (unless it was given), else the passphrase,
# else allow, else deny.
# A value that turns out undefined goes on to the next else, hence the guards:
# what allows says itself that nothing stands against it.

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
} else := refusal([passphrase_fault]) if {
	unopposed
	passphrase_matters
} else := {
	"outcome": "allow",
	"code": "",
	"explanation": array.concat(sort(allow), [sprintf("%d people approved, and the rules ask for %d.", [input.approvals, needed_approvals]) | approved]),
	"remedies": [],
	"required_approvals": 0,
} if {
	unopposed
	allowed
} else := refusal([{"code": "policy_denied", "why": "No rule allows this download.", "remedies": []}])

unopposed if {
	count(deny) == 0
	count(approval) == 0
}

unopposed if {
	count(deny) == 0
	approved
}

allowed if count(allow) > 0

allowed if approved

# Enough people have approved. They have done so only where a request that waited
# is claimed.
approved if {
	count(approval) > 0
	input.action == "claim"
	is_number(input.approvals)
	input.approvals >= needed_approvals
}

needed_approvals := max(array.concat([1], [ceil(a.required_approvals) | some a in approvals]))

# Of several denials the caller hears of all, under the code that says most.
refusal(reasons) := {
	"outcome": "deny",
	"code": reasons[0].code,
	"explanation": [r.why | some r in reasons],
	"remedies": remedies_of(reasons),
	"required_approvals": 0,
}

remedies_of(reasons) := [remedy | some r in reasons; some remedy in r.remedies]

# What each rule that spoke has to say, for those who ask before they order.
rules := array.concat(
	array.concat(
		[said("deny", r, sprintf("%v", [r.code]), 0) | some r in denials],
		[said("approval", a, "", at_least_one(a.required_approvals)) | some a in approvals],
	),
	[said("allow", {"why": why, "remedies": []}, "", 0) | some why in sort(allow)],
)

said(kind, r, code, needed) := {"kind": kind, "code": code, "why": r.why, "remedies": remedies_of([r]), "required_approvals": needed}

denials := [r | some [_, r] in sort([[weight(r.code), r] | some d in deny; r := reason(d)])]

weight(code) := object.get({"forbidden": 0, "key_export_disabled": 1, "legacy_encryption_disabled": 2}, code, 3)

approvals := [reason(a) | some a in approval]

# A reason in full. Anything but a sentence or an object is an error, which denies.
reason(r) := object.union(unexplained, r) if not is_string(r)

reason(r) := object.union(unexplained, {"why": r}) if is_string(r)

unexplained := {
	"why": "A rule without an explanation decided this.",
	"code": "policy_denied",
	"remedies": [],
	"required_approvals": policy_approvals,
}
