{{/* Values that only this chart has at its top, as in values.yaml; a test compares the two. */}}
{{- define "sync.defaults" -}}
podMonitor: {enabled: false, interval: 60s}
prometheusRule: {enabled: false, providerSlowSeconds: 5, clockOffsetSeconds: 30, runbookUrl: docs/operations.md}
{{- end -}}

{{/* What _secret-sync.tpl is called with, without the context, as YAML. */}}
{{- define "sync.parts" -}}
{{- include "sscd.fill" (list .Values (include "sync.defaults" . | fromYaml)) -}}
{{- include "secretSync.prepare" (list .Values "") -}}
{{- $default := printf "secrets-store-csi:%s" .Chart.AppVersion -}}
{{- $given := default dict .Values.image -}}
{{- $image := include "secretSync.image" (dict "image" $given "default" $default "version" .Chart.AppVersion) -}}
{{- toYaml (dict "values" .Values "image" $image "pullPolicy" ($given.pullPolicy | default "IfNotPresent")
  "pullSecrets" .Values.imagePullSecrets "labels" .Values.commonLabels
  "providersDir" "/var/run/secrets-store-sync-providers") -}}
{{- end -}}
