{{- define "sscd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "sscd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sscd.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/name: {{ template "sscd.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app: {{ template "sscd.name" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image; one that still names the Go trio's would crash on our flags on every node. */}}
{{- define "sscd.image" -}}
{{- $image := .Values.linux.image -}}
{{- $repository := toString $image.repository -}}
{{- if or (regexMatch "csi-secrets-store/driver(-crds)?$" $repository) (regexMatch "^v1\\.[0-9]+\\.[0-9]+" (toString ($image.tag | default ""))) -}}
{{- fail (printf "linux.image.repository=%s linux.image.tag=%s names the Go driver's image, which does not know this chart's flags: remove linux.image from your values, or name the secrets-store-csi image (see docs/migration.md)" $repository (toString $image.tag)) -}}
{{- end -}}
{{- if $image.digest -}}
{{- if not $image.repository -}}{{- fail "linux.image.digest needs linux.image.repository" -}}{{- end -}}
{{- $repository }}@{{ $image.digest -}}
{{- else -}}
{{- $repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{/* One quantity of the container: the sum of the three's, so that a user's own values keep their meaning. CPU in m, memory in Mi. */}}
{{- define "sscd.cpu" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}{{- trimSuffix "m" $text | int -}}{{- else -}}{{- mulf (float64 $text) 1000.0 | int -}}{{- end -}}
{{- end -}}
{{- define "sscd.memory" -}}
{{- $text := toString . -}}
{{- if hasSuffix "Gi" $text -}}{{- mulf (trimSuffix "Gi" $text | float64) 1024.0 | int -}}
{{- else if hasSuffix "Mi" $text -}}{{- trimSuffix "Mi" $text | int -}}
{{- else if hasSuffix "Ki" $text -}}{{- divf (trimSuffix "Ki" $text | float64) 1024.0 | ceil | int -}}
{{- else if hasSuffix "G" $text -}}{{- divf (mulf (trimSuffix "G" $text | float64) 1000000000.0) 1048576.0 | ceil | int -}}
{{- else if hasSuffix "M" $text -}}{{- divf (mulf (trimSuffix "M" $text | float64) 1000000.0) 1048576.0 | ceil | int -}}
{{- else -}}{{- divf (float64 $text) 1048576.0 | ceil | int -}}{{- end -}}
{{- end -}}
{{- define "sscd.resources" -}}
{{- $parts := list .Values.linux.driver.resources .Values.linux.registrar.resources .Values.linux.livenessProbe.resources -}}
{{- range $kind := list "limits" "requests" }}
{{- $cpu := 0 }}{{- $memory := 0 }}
{{- range $part := $parts }}
{{- $found := dig $kind dict (default dict $part) }}
{{- with $found }}
{{- with .cpu }}{{- $cpu = add $cpu (include "sscd.cpu" . | int) }}{{- end }}
{{- with .memory }}{{- $memory = add $memory (include "sscd.memory" . | int) }}{{- end }}
{{- end }}
{{- end }}
{{- if or $cpu $memory }}
{{ $kind }}:
{{- if $cpu }}
  cpu: {{ $cpu }}m
{{- end }}
{{- if $memory }}
  memory: {{ $memory }}Mi
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sscd.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}

{{- define "sscd.syncRules" -}}
rules:
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create, get, patch]
  - apiGroups: [""]
    resources: [pods]
    verbs: [get]
{{- end -}}

{{/* An image of the Go trio, for Windows. */}}
{{- define "sscd.otherImage" -}}
{{- .repository -}}{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end -}}
{{- end -}}
