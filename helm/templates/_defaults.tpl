{{/*
Values that the templates need, as in values.yaml; a test compares the two. A value that is not here may be absent: then the object
has no such field, or the program its own default.
*/}}
{{- define "sscd.defaults" -}}
linux:
  enabled: true
  image: {repository: secrets-store-csi, pullPolicy: IfNotPresent}
  crds: {enabled: true}
  driver: {}
  registrar: {logVerbosity: 5}
  livenessProbe: {}
  updateStrategy: {type: RollingUpdate}
  kubeletRootDir: /var/lib/kubelet
  providersDir: /var/run/secrets-store-csi-providers
  metricsAddr: ":8095"
windows:
  enabled: false
  image: {repository: registry.k8s.io/csi-secrets-store/driver, tag: v1.6.0, pullPolicy: IfNotPresent}
  driver: {}
  registrarImage: {repository: registry.k8s.io/sig-storage/csi-node-driver-registrar, tag: v2.16.0, pullPolicy: IfNotPresent}
  registrar: {logVerbosity: 5}
  livenessProbeImage: {repository: registry.k8s.io/sig-storage/livenessprobe, tag: v2.18.0, pullPolicy: IfNotPresent}
  livenessProbe: {}
  updateStrategy: {type: RollingUpdate}
  kubeletRootDir: C:\var\lib\kubelet
  providersDir: C:\\k\\secrets-store-csi-providers
  metricsAddr: ":8095"
logVerbosity: 0
logFormatJSON: false
livenessProbe: {port: 9808, logLevel: 2}
readinessProbe: {enabled: true, requireProvider: false}
maxCallRecvMsgSize: 4194304
rbac: {install: true, pspEnabled: false, goDriver: false}
syncSecret: {enabled: false, adoptExisting: false}
enableSecretRotation: false
providerHealthCheck: false
providerHealthCheckInterval: 2m
automountServiceAccountToken: true
rotationJitterPercent: 10
tmpfsNoexec: true
volumeAttributesOverride: false
volumeCondition: false
startupTaint: {enabled: false, key: secrets-store.csi.k8s.io/agent-not-ready}
restartOnRotation: {enabled: false}
validatingAdmissionPolicies: {applyPolicies: true}
podMonitor: {enabled: false, interval: 60s}
prometheusRule: {enabled: false, staleAfterSeconds: 3600, providerSlowSeconds: 5, clockOffsetSeconds: 30, runbookUrl: docs/operations.md}
dashboard: {enabled: false, labels: {grafana_dashboard: "1"}}
networkPolicy: {enabled: false}
providers: {openbao: {enabled: false, name: openbao, metricsPort: 8090}}
secretSync: {enabled: false}
{{- end -}}

{{/*
Gives each value that is absent or null its default. Helm drops what a user sets to null, and --reuse-values brings the values of a
release that lacked the newer ones. Every template calls this first; the second time it changes nothing.
*/}}
{{- define "sscd.prepare" -}}
{{- include "sscd.fill" (list .Values (include "sscd.defaults" . | fromYaml)) -}}
{{- include "sscd.check" . -}}
{{- end -}}
