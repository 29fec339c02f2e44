output "network" {
  description = "The network."
  value       = local.network
}

output "subnetwork" {
  description = "The subnetwork, for subnetwork of the module dataproc. Whatever uses this output waits for the NAT and the firewall rule."
  value       = local.subnetwork
  depends_on  = [google_compute_router_nat.this, google_compute_firewall.internal]
}

output "network_tags" {
  description = "The tag that nodes need for the firewall rule, for network_tags of the module dataproc."
  value       = [var.name]
}
