"""scikit-learn on its own data: a pipeline, a search on two processes, a model that is kept and loaded."""

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data, target = load_digits(return_X_y=True)
first, second, first_target, second_target = train_test_split(data, target, random_state=1)
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=20, random_state=1))
search = GridSearchCV(pipeline, {"randomforestclassifier__max_depth": [4, 8]}, cv=2, n_jobs=2)
search.fit(first, first_target)
joblib.dump(search.best_estimator_, "model.joblib")
print(joblib.load("model.joblib").score(second, second_target))
