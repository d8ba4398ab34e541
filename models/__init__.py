"""The bundled backbones: one folder each, data only (installed as ``skltransfer.models``)."""
