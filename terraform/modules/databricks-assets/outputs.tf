output "init_script" {
  description = "Path of the uploaded init script; it changes when any of the files does."
  value       = databricks_file.this[basename(local.init_script)].path
}

output "env" {
  description = "Variables that tell the init script where the files are."
  value       = { SPARK_SIDECAR_ASSETS = local.folder }
}

output "folder" {
  description = "Folder of the uploaded files."
  value       = local.folder
}

output "notebooks" {
  description = "Workspace paths of the uploaded notebooks, by name."
  value       = { for name, each in databricks_notebook.this : trimsuffix(name, ".ipynb") => each.path }
}
