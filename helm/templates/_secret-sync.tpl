{{/*
The controller of SecretSyncs, shared by this chart (templates/secret-sync.yaml) and by the one in sync/, whose values have the shape
of the official controller's chart. The templates here are called with a dict:
  root          the chart's context
  values        the values, as in sync/values.yaml
  image         the image's full name; pullPolicy, pullSecrets and labels are the chart's, too
  providersDir  the directory of provider sockets on the node, if the values do not name one
*/}}

{{/* Values that may be absent or null, as in values.yaml; a test compares the two. */}}
{{- define "secretSync.defaults" -}}
replicas: 1
logVerbosity: 0
logFormatJSON: false
watchSecrets: false
rotationPollInterval: 12h
metricsPort: 8085
crds: {enabled: true}
validatingAdmissionPolicies:
  applyPolicies: true
  allowedSecretTypes:
    - Opaque
    - kubernetes.io/basic-auth
    - kubernetes.io/dockercfg
    - kubernetes.io/dockerconfigjson
    - kubernetes.io/ssh-auth
    - kubernetes.io/tls
  deniedSecretTypes:
    - kubernetes.io/service-account-token
    - bootstrap.kubernetes.io/token
    - helm.sh/release.v1
{{- end -}}

{{/* Fills in the defaults and refuses what would have no effect or crash. The argument is a list: the values, and their path. */}}
{{- define "secretSync.prepare" -}}
{{- $values := index . 0 -}}
{{- $path := index . 1 -}}
{{- include "sscd.fill" (list $values (include "secretSync.defaults" . | fromYaml)) -}}
{{- if not (regexMatch "^(0|(([0-9]+(\\.[0-9]*)?(ms|s|m|h))+))$" (toString $values.rotationPollInterval)) -}}
{{- fail (printf "%srotationPollInterval=%v: it must be a duration such as 30s, 2m or 12h; 0s turns it off" $path $values.rotationPollInterval) -}}
{{- end -}}
{{- with $values.providersDir -}}
{{- if not (regexMatch "^/[^ ,]+$" .) -}}{{- fail (printf "%sprovidersDir=%s: it must be an absolute path such as /var/run/secrets-store-sync-providers" $path .) -}}{{- end -}}
{{- end -}}
{{- if eq (toString $values.metricsPort) "8081" -}}
{{- fail (printf "%smetricsPort=8081 is the port of the health endpoint: give it another one" $path) -}}
{{- end -}}
{{- end -}}

{{/*
The image: the argument has the value `image`, and the `default` and its `version` for what that does not say. The official
controller's image, which a values file of its chart may name, counts as none: it lacks this program.
*/}}
{{- define "secretSync.image" -}}
{{- $image := default dict .image -}}
{{- if or (not $image.repository) (include "secretSync.isOfficial" .image) -}}{{- .default -}}
{{- else if $image.digest -}}{{- $image.repository }}@{{ $image.digest -}}
{{- else -}}{{- $image.repository }}:{{ $image.tag | default .version -}}
{{- end -}}
{{- end -}}

{{- define "secretSync.isOfficial" -}}
{{- with . }}{{- if regexMatch "(^|/)secrets-store-sync/[^/]*$" (toString .repository) }}true{{- end }}{{- end -}}
{{- end -}}

{{- define "secretSync.account" -}}secrets-store-sync-controller-manager{{- end -}}

{{- define "secretSync.labels" -}}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
app.kubernetes.io/name: secrets-store-sync-controller
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The audiences, as a JSON list; entries without one, as the official values file has, count as none. */}}
{{- define "secretSync.audiences" -}}
{{- $audiences := list -}}
{{- range .values.tokenRequestAudience }}{{- with .audience }}{{- $audiences = append $audiences . }}{{- end }}{{- end -}}
{{- toRawJson $audiences -}}
{{- end -}}

{{- define "secretSync.args" -}}
- --leader-elect
- --health-probe-bind-address=:8081
- --metrics-bind-address=:{{ .values.metricsPort }}
- --provider-volume=/provider
- --rotation-poll-interval={{ eq (toString .values.rotationPollInterval) "0" | ternary "0s" .values.rotationPollInterval }}
{{- with include "secretSync.audiences" . | fromJsonArray }}
- {{ printf "--token-request-audience=%s" (join "," .) | quote }}
{{- end }}
{{- if .values.logVerbosity }}
- -v={{ .values.logVerbosity }}
{{- end }}
{{- if .values.logFormatJSON }}
- --log-format-json
{{- end }}
{{- range .values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What the values say wins, so a values file without our stricter settings gets them. */}}
{{- define "secretSync.securityContext" -}}
{{- $strict := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "runAsNonRoot" true
  "capabilities" (dict "drop" (list "ALL")) "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (merge (deepCopy (default dict .values.securityContext)) $strict) -}}
{{- end -}}

{{/* The providers beside the controller: each gets the directory of sockets, unless it mounts it itself. */}}
{{- define "secretSync.providers" -}}
{{- $containers := list -}}
{{- range .values.providerContainer -}}
{{- $mounted := false -}}
{{- range .volumeMounts }}{{- if eq (trimSuffix "/" .mountPath) "/provider" }}{{- $mounted = true }}{{- end }}{{- end -}}
{{- $container := deepCopy . -}}
{{- if not $mounted -}}
{{- $mount := dict "name" "providervol" "mountPath" "/provider" -}}
{{- $_ := set $container "volumeMounts" (append (default list .volumeMounts) $mount) -}}
{{- end -}}
{{- $containers = append $containers $container -}}
{{- end -}}
{{- with $containers }}{{ toYaml . }}{{- end -}}
{{- end -}}

{{- define "secretSync.deployment" -}}
{{- $values := .values -}}
{{- $selected := dict "app" "secrets-store-sync-controller" "control-plane" "controller-manager" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "secretSync.account" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ include "secretSync.labels" . | indent 4 }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels:
{{ toYaml $selected | indent 6 }}
  template:
    metadata:
      labels:
{{ toYaml (merge (dict "secrets-store.io/system" "true") $selected (default dict $values.podLabels)) | indent 8 }}
      annotations:
{{ toYaml (merge (default dict $values.podAnnotations) (dict "kubectl.kubernetes.io/default-container" "manager")) | indent 8 }}
    spec:
      serviceAccountName: {{ include "secretSync.account" . }}
      # The providers beside the controller have the same user unless they name another, so that both may use the sockets.
      securityContext:
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
{{- with .pullSecrets }}
      imagePullSecrets:
{{ toYaml . | indent 8 }}
{{- end }}
{{- with $values.affinity }}
      affinity:
{{ toYaml . | indent 8 }}
{{- end }}
      containers:
        - name: manager
          image: {{ .image | quote }}
          imagePullPolicy: {{ .pullPolicy }}
          command: [/app/bin/secrets-store-csi-sync]
          args:
{{ include "secretSync.args" . | indent 12 }}
          env:
            - name: SYNC_CONTROLLER_POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
            - name: SYNC_CONTROLLER_POD_UID
              valueFrom:
                fieldRef:
                  fieldPath: metadata.uid
          securityContext:
{{ include "secretSync.securityContext" . | indent 12 }}
          ports:
            - name: metrics
              containerPort: {{ $values.metricsPort }}
              protocol: TCP
            - name: health
              containerPort: 8081
              protocol: TCP
          livenessProbe:
            httpGet:
              path: /healthz
              port: health
            initialDelaySeconds: 15
            periodSeconds: 20
            timeoutSeconds: 10
          readinessProbe:
            httpGet:
              path: /readyz
              port: health
            initialDelaySeconds: 5
            periodSeconds: 10
            timeoutSeconds: 10
{{- with $values.resources }}
          resources:
{{ toYaml . | indent 12 }}
{{- end }}
          volumeMounts:
            - name: providervol
              mountPath: /provider
            - name: tmp
              mountPath: /tmp
{{- with include "secretSync.providers" . }}
{{ . | indent 8 }}
{{- end }}
      volumes:
        - name: providervol
{{- if or $values.providersDir (not $values.providerContainer) }}
          hostPath:
            path: {{ $values.providersDir | default .providersDir }}
            type: DirectoryOrCreate
{{- else }}
          emptyDir: {}
{{- end }}
        - name: tmp
          emptyDir:
            medium: Memory
            sizeLimit: 16Mi
      nodeSelector:
        kubernetes.io/os: linux
{{- with $values.nodeSelector }}
{{ toYaml (omit . "kubernetes.io/os") | indent 8 }}
{{- end }}
{{- with $values.tolerations }}
      tolerations:
{{ toYaml . | indent 8 }}
{{- end }}
{{- end -}}

{{- define "secretSync.roles" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "secretSync.account" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ include "secretSync.labels" . | indent 4 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: secrets-store-sync-controller-manager-role
  labels:
{{ include "secretSync.labels" . | indent 4 }}
rules:
  - apiGroups: [""]
    resources: [events]
    verbs: [create, patch]
  # Not get: Secrets are written without being read{{ if not .values.watchSecrets }}, and not list or watch either{{ end }}.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create, patch{{ if .values.watchSecrets }}, list, watch{{ end }}]
  - apiGroups: [""]
    resources: [serviceaccounts/token]
    verbs: [create]
  - apiGroups: [secrets-store.csi.x-k8s.io]
    resources: [secretproviderclasses]
    verbs: [get, list, watch]
  - apiGroups: [secret-sync.x-k8s.io]
    resources: [secretsyncs]
    verbs: [get, list, watch]
  - apiGroups: [secret-sync.x-k8s.io]
    resources: [secretsyncs/status]
    verbs: [get, patch, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: secrets-store-sync-controller-manager-rolebinding
  labels:
{{ include "secretSync.labels" . | indent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: secrets-store-sync-controller-manager-role
subjects:
  - kind: ServiceAccount
    name: {{ include "secretSync.account" . }}
    namespace: {{ .root.Release.Namespace }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: secrets-store-sync-controller-leader-election-role
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ include "secretSync.labels" . | indent 4 }}
rules:
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [29f1d54e.secret-sync.x-k8s.io]
    verbs: [get, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: secrets-store-sync-controller-leader-election-rolebinding
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ include "secretSync.labels" . | indent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: secrets-store-sync-controller-leader-election-role
subjects:
  - kind: ServiceAccount
    name: {{ include "secretSync.account" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/*
"true" if the CRD is rendered: unless somebody else, such as the official controller's chart, has installed it. One that belongs to
this release must be rendered, or Helm would take it for one that is no longer wanted.
*/}}
{{- define "secretSync.ownsCrd" -}}
{{- if .values.crds.enabled -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "secretsyncs.secret-sync.x-k8s.io" | default dict -}}
{{- $annotations := dig "metadata" "annotations" dict $found | default dict -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- if or (not $found) (and (eq $release .root.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .root.Release.Namespace)) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* `podMonitor` are the values of that name. */}}
{{- define "secretSync.podMonitor" -}}
{{- include "monitoring.podMonitor" (dict "root" .root "values" .podMonitor "name" (include "secretSync.account" .)
  "labels" (include "secretSync.labels" .) "selected" "app: secrets-store-sync-controller" "endpoints" (list (dict "port" "metrics"))) -}}
{{- end -}}

{{- define "secretSync.objects" -}}
{{ include "secretSync.roles" . }}
---
{{ include "secretSync.deployment" . }}
{{- with include "secretSync.policies" . }}
---
{{ . }}
{{- end }}
{{- if include "secretSync.ownsCrd" . }}
---
{{ .root.Files.Get "files/secretsyncs.yaml" }}
{{- end }}
{{- end -}}

{{/* For NOTES.txt. */}}
{{- define "secretSync.notes" -}}
{{- if include "secretSync.isOfficial" .values.image }}

The sync controller's image.repository={{ .values.image.repository }} is the official controller's image and has no effect: {{ .image }} is used.
{{- end }}
{{- if and .values.crds.enabled (not (include "secretSync.ownsCrd" .)) }}

The CRD secretsyncs.secret-sync.x-k8s.io is another release's and stays as it is. If it is the official controller's, spec.secretObject.dataFrom
is not available: docs/secrets-without-a-pod.md says how to replace it.
{{- end }}
{{- if not .values.providerContainer }}

The sync controller uses the providers on its node, in {{ .values.providersDir | default .providersDir }}. A provider that runs as root there usually makes
sockets that only root may use: see docs/secrets-without-a-pod.md.
{{- end }}
{{- end -}}
