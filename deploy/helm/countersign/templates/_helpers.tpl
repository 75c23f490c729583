{{- define "countersign.labels" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.shared" -}}
{{- if .Values.secrets.mongodbURI.name }}yes{{ else if (.Values.config.mongodb).uri }}yes{{ end }}
{{- end }}

{{- define "countersign.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}yes{{ end }}
{{- end }}

{{- define "countersign.check" -}}
{{- if not .Values.image.repository }}{{ fail "image.repository is empty; push the image of `make image` to a registry of yours, and name it" }}{{ end }}
{{- if not (or .Values.image.tag .Values.image.digest) }}{{ fail "image.tag and image.digest are empty; name one of them" }}{{ end }}
{{- if not .Values.config.public_url }}{{ fail "config.public_url is empty; set it to the URL under which callers reach the server" }}{{ end }}
{{- if (.Values.config.tls).cert_file }}{{ fail "the chart's probes and Service speak HTTP, and it mounts no files; leave out config.tls, and end TLS at the ingress" }}{{ end }}
{{- if regexMatch "://[^/@\\s]*:[^/@\\s]*@" (toYaml .Values.config) }}{{ fail "config has a password in a URL; keep it in a Secret and name that in secrets" }}{{ end }}
{{- if and .Values.metrics.enabled (not (and .Values.networkPolicy.enabled .Values.metrics.from)) }}{{ fail "the listener of metrics asks for no credential; set metrics.from, with networkPolicy.enabled" }}{{ end }}
{{- if and (or .Values.autoscaling.enabled .Values.metrics.podMonitor.enabled) (not .Values.metrics.enabled) }}{{ fail "autoscaling and metrics.podMonitor need metrics.enabled" }}{{ end }}
{{- if include "countersign.several" . }}
{{- if not (include "countersign.shared" .) }}{{ fail "more than one replica needs MongoDB; set secrets.mongodbURI or config.mongodb.uri" }}{{ end }}
{{- if not (.Values.config.temporal).address }}{{ fail "more than one replica needs Temporal; set config.temporal.address" }}{{ end }}
{{- end }}
{{- if include "countersign.shared" . }}
{{- if not (.Values.config.keeper).url }}{{ fail "with MongoDB, pods keep no files, and the key file would be lost; set config.keeper.url" }}{{ end }}
{{- if not (.Values.config.anchor).url }}{{ fail "with MongoDB, pods keep no files, and the anchor of the audit log would be lost; set config.anchor.url" }}{{ end }}
{{- if not (.Values.config.temporal).address }}{{ fail "with MongoDB, pods keep no files, and the embedded Temporal would be lost; set config.temporal.address" }}{{ end }}
{{- end }}
{{- end }}

{{- define "countersign.config" -}}
{{- $own := dict "listen" "0.0.0.0:8080" "listen_admin" (ternary "0.0.0.0:8081" "127.0.0.1:8081" .Values.metrics.enabled) "data" "/data" "bootstrap" "/data/bootstrap.json" "drain" .Values.drain }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) }}
{{- end }}
