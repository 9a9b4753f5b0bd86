{
  "variables": {
    "flags": ["-std=c++17", "-O3", "-fPIC", "-fexceptions", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-maybe-uninitialized", "-Wno-unused-function"],
    "x64": "<!(node -p \"(process.env.npm_config_arch ?? process.arch) === 'x64' ? 1 : 0\")"
  },
  "target_defaults": {
    "cflags!": ["-fno-exceptions", "-O2", "-O3"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["<@(flags)"],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-fvisibility=hidden"]
    },
    "include_dirs": ["native"]
  },
  "targets": [
    {
      "target_name": "basin",
      "sources": [
        "native/addon/addon.cc",
        "native/addon/training_addon.cc",
        "native/engine/contexts.cc",
        "native/engine/descent.cc",
        "native/engine/energies.cc",
        "native/engine/engine.cc",
        "native/engine/multi_step.cc",
        "native/engine/pass.cc",
        "native/engine/push.cc",
        "native/engine/readout.cc",
        "native/engine/saved_answer.cc",
        "native/kernels/choose.cc",
        "native/model/candidate_attention.cc",
        "native/model/model.cc",
        "native/model/network.cc",
        "native/model/observed_stream.cc",
        "native/model/vocabulary.cc",
        "native/model/weights.cc",
        "native/runtime/peak.cc",
        "native/runtime/pool.cc",
        "native/training/duals.cc",
        "native/training/moves.cc",
        "native/training/product.cc",
        "native/training/reductions.cc",
        "native/training/trainer.cc"
      ],
      "dependencies": ["kernels_baseline"],
      "conditions": [["x64==1", { "dependencies": ["kernels_avx512bf16", "kernels_avx512", "kernels_avx2"] }]]
    },
    {
      "target_name": "kernels_baseline",
      "type": "static_library",
      "sources": ["native/kernels/kernels.cc", "native/training/training_kernels.cc"],
      "defines": ["BASIN_ISA=baseline"]
    }
  ],
  "conditions": [
    ["x64==1", {
      "targets": [
        {
          "target_name": "kernels_avx512bf16",
          "type": "static_library",
          "sources": ["native/kernels/kernels.cc"],
          "defines": ["BASIN_ISA=avx512bf16"],
          "cflags_cc": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mavx2", "-mfma", "-mprefer-vector-width=512"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mavx2", "-mfma"] }
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["native/kernels/kernels.cc", "native/training/training_kernels.cc"],
          "defines": ["BASIN_ISA=avx512"],
          "cflags_cc": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"] }
        },
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["native/kernels/kernels.cc", "native/training/training_kernels.cc"],
          "defines": ["BASIN_ISA=avx2"],
          "cflags_cc": ["-mavx2", "-mfma"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx2", "-mfma"] }
        }
      ]
    }]
  ]
}
