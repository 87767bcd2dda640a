"""Helpers of the notebooks that tune CNN regressors on measured signals.

Where the names of the specification live: ``losses.WeightedMSELoss``,
``search_space.suggest_hyperparameters``, ``objective.objective``,
``trial_files.create_trial_output_dir``, ``trial_files.save_trial_results``,
``trial_files.find_trial_output_dir``, ``study_files.generate_study_summary``. Around them:
``config.load_config``, ``data.prepare_data``, ``models.create_model``, ``training.train_trial``,
``training.train_one_epoch``, ``training.evaluate``, ``study.run_study``, ``winner.settle_winner``,
``bundle.load_bundle``, ``bundle.predict``, ``acceptance.evaluate``.
"""

__version__ = "0.1.0"
