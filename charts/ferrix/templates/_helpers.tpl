{{/* The release's name where it says ferrix already; with a suffix such as -secrets at most 63 long. */}}
{{- define "ferrix.name" -}}
{{- $name := contains "ferrix" .Release.Name | ternary .Release.Name (printf "%s-ferrix" .Release.Name) -}}
{{- $name | trunc 54 | trimSuffix "-" -}}
{{- end }}

{{- define "ferrix.selectorLabels" -}}
app.kubernetes.io/name: ferrix
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "ferrix.podLabels" -}}
{{ include "ferrix.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "ferrix.labels" -}}
{{ include "ferrix.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The only one that any role is bound to. */}}
{{- define "ferrix.subjects" -}}
- kind: ServiceAccount
  name: {{ include "ferrix.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What routes are made of, and what is told about them. */}}
{{- define "ferrix.rules" -}}
- apiGroups: [ferrix.com]
  resources: [backendpolicies, filters, ingressroutes]
  verbs: [list, watch]
- apiGroups: [ferrix.com]
  resources: [backendpolicies/status, filters/status, ingressroutes/status]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: {{ empty .Values.namespaces | ternary "[ingresses, ingressclasses]" "[ingresses]" }}
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
- apiGroups: [""]
  {{- /* Who sees some namespaces only is told about none. */}}
  resources: {{ empty .Values.namespaces | ternary "[services, namespaces]" "[services]" }}
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources:
    - backendtlspolicies
    {{- if empty .Values.namespaces }}
    - gatewayclasses
    {{- end }}
    - gateways
    - grpcroutes
    - httproutes
    - listenersets
    - referencegrants
    - tcproutes
    - tlsroutes
    - udproutes
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources:
    - backendtlspolicies/status
    {{- if empty .Values.namespaces }}
    - gatewayclasses/status
    {{- end }}
    - gateways/status
    - grpcroutes/status
    - httproutes/status
    - listenersets/status
    - tcproutes/status
    - tlsroutes/status
    - udproutes/status
  verbs: [patch]
- apiGroups: [gateway.networking.x-k8s.io]
  resources: [xbackendtrafficpolicies]
  verbs: [list, watch]
- apiGroups: [gateway.networking.x-k8s.io]
  resources: [xbackendtrafficpolicies/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "ferrix.secretRules" -}}
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [list, watch]
{{- end }}

{{/* Where Secrets may be read, as a JSON list: as told, else where routes are. */}}
{{- define "ferrix.secretNamespaces" -}}
{{- if kindIs "slice" .Values.secrets.namespaces -}}
{{- toJson .Values.secrets.namespaces }}
{{- else -}}
{{- .Values.namespaces | default (list "default") | toJson }}
{{- end -}}
{{- end }}

{{/* An amount of CPU, such as 2 or 500m, in thousandths. */}}
{{- define "ferrix.milliCPU" -}}
{{- if hasSuffix "m" (toString .) -}}
{{- trimSuffix "m" (toString .) }}
{{- else -}}
{{- mulf (float64 (toString .)) 1000 | int }}
{{- end -}}
{{- end }}

{{/* The controller of GatewayClasses: of several installations each has its own. */}}
{{- define "ferrix.gatewayController" -}}
{{- $gateway := dig "gateway" (dict) (.Values.settings | default dict) | default dict }}
{{- $own := printf "ferrix.com/gateway-controller%s" (.Values.ingressClass | empty | ternary "" (printf "-%s" .Values.ingressClass)) }}
{{- get $gateway "controller" | default $own }}
{{- end }}

{{/*
ferrix.yaml: `settings`, and the keys that other objects of the chart depend on. Those cannot be
given twice, or permissions and ports would not fit.
*/}}
{{- define "ferrix.settings" -}}
{{- $settings := .Values.settings | default dict }}
{{- $made := dict "entry_points" "entryPoints says it" "admin" "the probes depend on it" }}
{{- range $key, $why := $made }}
  {{- if hasKey $settings $key }}
    {{- fail (printf "settings.%s cannot be set: %s" $key $why) }}
  {{- end }}
{{- end }}
{{- $made = dict "files" "objects come from the cluster" "kubernetes" "secrets.clusterWide says it" "namespaces" "the value namespaces says it" "ingress_class" "ingressClass says it" }}
{{- range $key, $why := $made }}
  {{- if hasKey ($settings.source | default dict) $key }}
    {{- fail (printf "settings.source.%s cannot be set: %s" $key $why) }}
  {{- end }}
{{- end }}
{{- if and .Values.sharedLimits.enabled (hasKey $settings "replicas") }}
  {{- fail "settings.replicas cannot be set with sharedLimits.enabled: that says it" }}
{{- end }}
{{- if hasKey ($settings.gateway | default dict) "services" }}
  {{- fail "settings.gateway.services cannot be set: gatewayServices says it" }}
{{- end }}
{{- $entryPoints := list }}
{{- range .Values.entryPoints }}
  {{- $entryPoint := dict "name" .name "port" .port "secure" (.secure | default false) }}
  {{- /* Where clients reach it, which Gateways ask for. */}}
  {{- $_ := set $entryPoint "exposed_port" (.hostPort | default .servicePort) }}
  {{- with .proxyProtocol }}{{ $_ := set $entryPoint "proxy_protocol" . }}{{ end }}
  {{- $entryPoints = append $entryPoints $entryPoint }}
{{- end }}
{{- $kubernetes := .Values.secrets.clusterWide | ternary (dict "secrets" "cluster") dict }}
{{- if .Values.snapshot.enabled }}{{ $_ := set $kubernetes "snapshot_folder" "/run/ferrix/snapshot" }}{{ end }}
{{- with .Values.publishAddresses }}{{ $_ := set $kubernetes "publish_addresses" . }}
{{- else }}{{ $_ := set $kubernetes "publish_service" (printf "%s/%s" .Release.Namespace (include "ferrix.name" .)) }}{{ end }}
{{- $source := dict "kubernetes" $kubernetes }}
{{- with .Values.namespaces }}{{ $_ := set $source "namespaces" . }}{{ end }}
{{- with .Values.ingressClass }}{{ $_ := set $source "ingress_class" . }}{{ end }}
{{- /* Not the loopback address of the default: the kubelet asks from outside of the pod. */}}
{{- $made = dict "entry_points" $entryPoints "source" $source "admin" (dict "address" "[::]:6192") }}
{{- $gateway := dict }}
{{- if .Values.ingressClass }}{{ $_ := set $gateway "controller" (include "ferrix.gatewayController" .) }}{{ end }}
{{- with .Values.gatewayServices }}
  {{- if .enabled }}
    {{- $spec := merge (dict "selector" (include "ferrix.selectorLabels" $ | fromYaml)) (deepCopy .spec) }}
    {{- $_ := set $gateway "services" (dict "annotations" .annotations "spec" $spec) }}
  {{- end }}
{{- end }}
{{- with $gateway }}{{ $_ := set $made "gateway" . }}{{ end }}
{{- if .Values.sharedLimits.enabled }}
  {{- $peers := list (printf "%s-replicas:6193" (include "ferrix.name" .)) }}
  {{- $_ := set $made "replicas" (dict "address" "[::]:6193" "peers" $peers "key_file" "/etc/ferrix-replicas/key") }}
{{- end }}
{{- mergeOverwrite (deepCopy $settings) $made | toYaml }}
{{- end }}
