{{/* What several values together cannot be. What one cannot be by itself, values.schema.json says. */}}
{{- define "ferrix.check" -}}
{{- include "ferrix.checkEntryPoints" . }}
{{- include "ferrix.checkService" . }}
{{- if .Values.gatewayServices.enabled }}
  {{- if .Values.namespaces }}
    {{- fail "gatewayServices.enabled and namespaces exclude each other: Gateways are served where all namespaces are watched" }}
  {{- end }}
  {{- if dig "gateway" "addresses" (list) (.Values.settings | default dict) }}
    {{- fail "gatewayServices.enabled and settings.gateway.addresses exclude each other: a Gateway has one place" }}
  {{- end }}
{{- end }}
{{- with .Values.autoscaling }}
  {{- if .enabled }}
    {{- if ne $.Values.kind "Deployment" }}
      {{- fail "autoscaling.enabled needs kind: Deployment; a DaemonSet has as many pods as there are nodes" }}
    {{- end }}
    {{- if gt (int .minReplicas) (int .maxReplicas) }}
      {{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ferrix.checkEntryPoints" -}}
{{- $taken := dict "port 6192" "the admin page" }}
{{- range $entryPoint := .Values.entryPoints }}
  {{- range $key := list "name" "port" "servicePort" "hostPort" "nodePort" }}
    {{- with get $entryPoint $key }}
      {{- $value := printf "%s %v" $key . }}
      {{- if hasKey $taken $value }}
        {{- fail (printf "entryPoints: %s of %s is taken by %s already; give it another" $value $entryPoint.name (get $taken $value)) }}
      {{- end }}
      {{- $_ := set $taken $value $entryPoint.name }}
    {{- end }}
  {{- end }}
  {{- if and .hostPort (ne $.Values.kind "DaemonSet") }}
    {{- fail (printf "entryPoints: hostPort of %s needs kind: DaemonSet; two replicas on one node cannot have one port of it" .name) }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ferrix.checkService" -}}
{{- $service := .Values.service }}
{{- range $key := list "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" }}
  {{- if and (get $service $key) (ne $service.type "LoadBalancer") }}
    {{- fail (printf "service.%s needs service.type: LoadBalancer; it is %s" $key $service.type) }}
  {{- end }}
{{- end }}
{{- if and (eq $service.ipFamilyPolicy "SingleStack") (gt (len $service.ipFamilies) 1) }}
  {{- fail "service.ipFamilies: two families need service.ipFamilyPolicy: PreferDualStack or RequireDualStack" }}
{{- end }}
{{- end }}
