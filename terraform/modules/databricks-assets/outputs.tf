output "init_script" {
  description = "Path of the uploaded init script; it changes whenever one of the files changes."
  value       = databricks_file.texts["databricks.sh"].path
  depends_on  = [databricks_file.files, databricks_file.texts]
}

output "folder" {
  description = "Folder of the uploaded files."
  value       = local.folder
}

output "logs" {
  description = "Folder of the init script's logs and status files; each node has a folder below it."
  value       = "${var.volume}/logs"
}

output "notebooks" {
  description = "Workspace paths of the uploaded notebooks, by group and name (text/sentiment)."
  value       = { for name, each in databricks_notebook.this : trimsuffix(name, ".ipynb") => each.path }
}
