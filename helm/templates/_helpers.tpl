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

{{- define "sscd.openbaoName" -}}
{{- printf "%s-provider-%s" (include "sscd.fullname" . | trunc 42 | trimSuffix "-") .Values.providers.openbao.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The image. One that still names the Go trio's is refused: it would crash on our flags, on every node. */}}
{{- define "sscd.image" -}}
{{- $image := .Values.linux.image -}}
{{- $repository := toString $image.repository -}}
{{- if or (regexMatch "secrets-store/driver(-crds)?$" $repository) (regexMatch "^v[01]\\.[0-9]+\\.[0-9]+" (toString ($image.tag | default ""))) -}}
{{- fail (printf "linux.image.repository=%s linux.image.tag=%s is the Go driver's image, which does not accept this chart's flags: remove linux.image from your values, or set it to the secrets-store-csi image (see docs/migration.md)" $repository (toString $image.tag)) -}}
{{- end -}}
{{- if $image.digest -}}
{{- if or (not $image.repository) (eq $repository "secrets-store-csi") -}}
{{- fail (printf "linux.image.digest=%s is set without linux.image.repository: a digest left over from the Go driver's values names its image, which does not accept this chart's flags; remove it, or set the repository too (see docs/migration.md)" $image.digest) -}}
{{- end -}}
{{- $repository }}@{{ $image.digest -}}
{{- else -}}
{{- $repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{/* A quantity as an integer: CPU in m, memory in Mi. */}}
{{- define "sscd.cpu" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}{{- trimSuffix "m" $text | int -}}{{- else -}}{{- mulf (float64 $text) 1000.0 | int -}}{{- end -}}
{{- end -}}
{{- define "sscd.memory" -}}
{{- $bytes := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) -}}
{{- divf (mulf (trimSuffix $unit (toString .) | float64) (get $bytes $unit)) 1048576.0 | ceil | int -}}
{{- end -}}
{{/*
The container's resources: the sum of the three, so that a user's existing values keep their meaning. If one of the three has no
limit, the container has none: the sum of the other two would be less than what the three had together.
*/}}
{{- define "sscd.resources" -}}
{{- $parts := list -}}
{{- range $part := list .Values.linux.driver .Values.linux.registrar .Values.linux.livenessProbe -}}
{{- $parts = append $parts (default dict (default dict $part).resources) -}}
{{- end -}}
{{- range $kind := list "limits" "requests" }}
{{- $sums := dict }}
{{- range $name := list "cpu" "memory" "ephemeral-storage" }}
{{- $sum := 0 }}{{- $having := 0 }}
{{- range $part := $parts }}
{{- $found := get (default dict (get $part $kind)) $name }}
{{- if not (kindIs "invalid" $found) }}{{- if ne (toString $found) "" }}
{{- $having = add1 $having }}
{{- $sum = add $sum (include (ternary "sscd.cpu" "sscd.memory" (eq $name "cpu")) $found | int64) }}
{{- end }}{{- end }}
{{- end }}
{{- if and $sum (or (eq $kind "requests") (eq (int $having) 3)) }}
{{- $_ := set $sums $name (printf "%d%s" $sum (ternary "m" "Mi" (eq $name "cpu"))) }}
{{- end }}
{{- end }}
{{- with $sums }}
{{ $kind }}:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The driver's pod must tolerate the taint that it removes. */}}
{{- define "sscd.tolerations" -}}
{{- $tolerations := default list .Values.linux.tolerations -}}
{{- $any := false -}}
{{- range $tolerations }}{{- if and (not .key) (not .effect) (eq (toString .operator) "Exists") }}{{- $any = true }}{{- end }}{{- end -}}
{{- if and .Values.startupTaint.enabled (not $any) -}}
{{- $tolerations = append $tolerations (dict "key" .Values.startupTaint.key "operator" "Exists") -}}
{{- end -}}
{{- with $tolerations }}
tolerations:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}

{{- define "sscd.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}

{{/*
"true" if the Go driver runs under this chart's service account: on Windows nodes and, during the upgrade that replaces it, on
nodes whose pod has not been replaced yet. `lookup` finds nothing when Helm renders without a cluster.
*/}}
{{- define "sscd.goDriver" -}}
{{- $found := lookup "apps/v1" "DaemonSet" .Release.Namespace (include "sscd.fullname" .) -}}
{{- $names := list -}}
{{- range dig "spec" "template" "spec" "containers" list (default dict $found) }}{{- $names = append $names .name }}{{- end -}}
{{- if or .Values.windows.enabled .Values.rbac.goDriver (has "node-driver-registrar" $names) -}}true{{- end -}}
{{- end -}}

{{/* "true" if the account is limited by ValidatingAdmissionPolicies: by default, where the cluster has them. */}}
{{- define "sscd.policies" -}}
{{- if and .Values.linux.enabled .Values.validatingAdmissionPolicies.applyPolicies (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}true{{- end -}}
{{- end -}}

{{/* A value as a CEL literal: JSON, without the escapes that Helm adds for HTML. */}}
{{- define "sscd.cel" -}}
{{- toRawJson . | replace "\"" "'" -}}
{{- end -}}

{{/*
A ValidatingAdmissionPolicy for the driver's account and its binding, up to the policy's variables and validations.
  include "sscd.policy" (list . NAME OPERATIONS APIGROUPS RESOURCES)
*/}}
{{- define "sscd.policy" -}}
{{- $root := index . 0 -}}
{{- $name := printf "%s-%s" (include "sscd.fullname" $root) (index . 1) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
{{ include "sscd.labels" $root | indent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
{{ include "sscd.labels" $root | indent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [{{ index . 3 }}]
        apiVersions: ["*"]
        operations: [{{ index . 2 }}]
        resources: [{{ index . 4 }}]
  matchConditions:
    - name: the-drivers-account
      expression: request.userInfo.username == 'system:serviceaccount:{{ $root.Release.Namespace }}:secrets-store-csi-driver'
{{- end -}}

{{/* The variable node: the node in the account's token; empty without one, as in a token that kubelet did not request. */}}
{{- define "sscd.policyNode" -}}
{{ "    " }}- name: node
      expression: "has(request.userInfo.extra) ? request.userInfo.extra[?'authentication.kubernetes.io/node-name'][0].orValue('') : ''"
{{- end -}}

{{/*
"true" if the cluster's admission demands the right to delete an object of whoever adds an owner to it
(OwnerReferencesPermissionEnforcement): OpenShift's does. The policy "deletions" still refuses deletions.
*/}}
{{- define "sscd.deleteForOwners" -}}
{{- $asked := get (default dict .Values.rbac) "ownerReferencesPermissionEnforcement" -}}
{{- if kindIs "invalid" $asked -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}true{{- end -}}
{{- else if $asked -}}true{{- end -}}
{{- end -}}

{{/* "true" if Secrets are read in such a way that the policies apply; the account then has no right to get. */}}
{{- define "sscd.readByPatch" -}}
{{- if and (include "sscd.policies" .) (not (include "sscd.goDriver" .)) -}}true{{- end -}}
{{- end -}}

{{- define "sscd.syncRules" -}}
{{- $goDriver := include "sscd.goDriver" . -}}
rules:
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create, {{ if not (include "sscd.readByPatch" .) }}get, {{ end }}patch{{ if $goDriver }}, delete, list, update, watch{{ else if include "sscd.deleteForOwners" . }}, delete{{ end }}]
  - apiGroups: [""]
    resources: [pods]
    verbs: [get]
{{- end -}}

{{/* An image of the Go trio, for Windows nodes. */}}
{{- define "sscd.otherImage" -}}
{{- .repository -}}{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end -}}
{{- end -}}

{{/* What _secret-sync.tpl is called with, without the context, as YAML. */}}
{{- define "sscd.secretSync" -}}
{{- $sync := .Values.secretSync -}}
{{- include "secretSync.prepare" (list $sync "secretSync.") -}}
{{- $given := default dict $sync.image -}}
{{- $image := include "secretSync.image" (dict "image" $given "default" (include "sscd.image" .) "version" .Chart.AppVersion) -}}
{{- toYaml (dict "values" $sync "image" $image "pullPolicy" ($given.pullPolicy | default .Values.linux.image.pullPolicy)
  "pullSecrets" .Values.imagePullSecrets "labels" .Values.commonLabels "providersDir" .Values.linux.providersDir) -}}
{{- end -}}
